"""Progress of a running job."""

from bulkhead import _run


def progress_update(job, progress):
    """Shown as the job's output while it runs; the newest counts. Never fails the job, and never waits."""
    run = _run.of(job)
    if run is not None:  # else its end was told already
        run.progress(progress)
