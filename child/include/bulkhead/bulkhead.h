/* The child side of Bulkhead as a C ABI: what every language's binding stands on.
 *
 * A handler process connects once, says when it is ready, and then takes events from one queue: jobs to run, runs to
 * cancel, room for more chunks, the order to stop. What it takes it answers: with chunks, progress, checkpoints and, once,
 * a result.
 *
 *     bh_child *child = bh_connect(NULL, error, sizeof error);
 *     bh_ready(child, 1);
 *     bh_event event;
 *     while (bh_next(child, -1, &event) == BH_OK && event.kind != BH_EVENT_STOP)
 *       if (event.kind == BH_EVENT_JOB) bh_job_done(event.job, "{\"ok\":true}", 11, 0);
 *     bh_close(child, 5000);
 *
 * Threads: every function may be called from any thread. Heartbeats, cancels and the black box are kept going by a thread
 * of the library's own, whatever the handler does. The thread that waits in bh_next receives for itself: no hop.
 *
 * Errors: functions return BH_OK or a negative bh_status; bh_strerror gives the text. Nothing here throws, prints or
 * exits, with one exception: a process that is still there 5 s after its supervisor was lost ends with exit code 70 and a
 * line on stderr. JSON handed in is sent as it is; the supervisor checks it and fails the job that sent anything else.
 *
 * Forks: in a process forked from a child every function returns BH_INVALID and touches nothing.
 */
#ifndef BULKHEAD_BULKHEAD_H
#define BULKHEAD_BULKHEAD_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define BH_API __attribute__((visibility("default")))
#else
#define BH_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bh_child bh_child; /* the connection to the supervisor; one per process */
typedef struct bh_job bh_job;     /* one run of one job; ends with bh_job_done or bh_job_failed */

typedef enum bh_status {
  BH_OK = 0,
  BH_AGAIN = -1,     /* nothing now: the timeout passed, or there is no credit yet */
  BH_LOST = -2,      /* the supervisor is gone, or has refused this child */
  BH_CANCELLED = -3, /* the run was cancelled; what was passed is dropped, a result still ends the run */
  BH_TOO_LARGE = -4, /* above the supervisor's limit; bh_strerror names it; the run goes on */
  BH_INVALID = -5,   /* wrong argument, or a call that does not fit the state */
  BH_SYSTEM = -6     /* the system refused something; errno says what */
} bh_status;

typedef enum bh_event_kind {
  BH_EVENT_JOB = 1,    /* `job` is entered now: from here on a death counts against it */
  BH_EVENT_CANCEL = 2, /* `job` should stop; its stop flag is set already */
  BH_EVENT_CREDIT = 3, /* `job`, which met BH_AGAIN, may send chunks again, or its checkpoint is durable */
  BH_EVENT_STOP = 4    /* no more jobs will come: finish what runs, then bh_close and exit 0. Once it was given, every
                          thread that waits in bh_next, and every later call that finds nothing else, gets it too */
} bh_event_kind;

typedef struct bh_event {
  bh_event_kind kind;
  bh_job* job; /* NULL for STOP. A job stays valid until its result was given */
} bh_event;

typedef enum bh_level { BH_TRACE = 0, BH_DEBUG = 1, BH_INFO = 2, BH_WARN = 3, BH_ERROR = 4 } bh_level;

typedef enum bh_stop_reason {
  BH_RUNNING = 0,
  BH_STOP_CANCEL = 1,
  BH_STOP_TIMEOUT = 2,
  BH_STOP_DRAIN = 3
} bh_stop_reason;

enum { BH_REFRESH_WORKER = 1 /* flag of a result: after it, kill this child and start a clean one */ };

typedef struct bh_options {
  size_t size;       /* sizeof(bh_options): lets later versions append */
  const char* sdk;   /* name and version of the binding, for logs; NULL: the C library's own */
  int keep_signals;  /* non-zero: do not install the fatal-signal handlers that write a native stack */
  int cancel_signal; /* if not 0: on cancel, sent to the thread that took the job (an interpreter's way out of C) */
  /* If set, called instead of queueing BH_EVENT_CANCEL: a blocking handler's thread is not in bh_next to see one. Once per
   * run at most, on a thread of the library's, after bh_job_stopping was set; also (BH_STOP_DRAIN) for every run still open
   * when the supervisor is lost. It must be quick. `job` stays valid for the call: bh_job_done and bh_job_failed of that
   * job wait for it to return, so it must not give the result itself; any other call on the job is fine. */
  void (*on_stop)(bh_job* job, bh_stop_reason reason, void* user);
  void* on_stop_user;
  int return_on_signal; /* non-zero: bh_next returns BH_AGAIN when a signal handler ran in the thread that waits there
                         * (an interpreter then gets to run its own); else it waits on */
} bh_options;

/* Non-zero when a supervisor started this process (BULKHEAD_SOCKET is set). */
BH_API int bh_supervised(void);

/* Connects, says hello and waits for the welcome, at most 30 s. Returns NULL and writes the reason to `error` on failure.
 * Maps the black box and installs the crash handlers first: they note a fatal signal, write the stack, and leave the
 * process to whoever handled that signal before. A thread gets the alternate stack they need to tell of a stack overflow
 * with its first call of bh_next, bh_job_input or anything a job says. `options` may be NULL. */
BH_API bh_child* bh_connect(const bh_options* options, char* error, size_t error_size);

/* Set-up is done: up to `concurrency` (1 to 1000) jobs may run at once. Call again to change the number; running jobs go
 * on, whatever the change. */
BH_API int bh_ready(bh_child* child, int concurrency);

/* The next event. timeout_ms: -1 waits, 0 polls. BH_AGAIN on timeout, BH_LOST when the supervisor is gone. */
BH_API int bh_next(bh_child* child, int timeout_ms, bh_event* event);

/* A descriptor that is readable while bh_next(child, 0, …) may have something; level-triggered, for poll, epoll, asyncio,
 * Asio. Take events until BH_AGAIN. Belongs to the library. */
BH_API int bh_fd(bh_child* child);

/* Facts of a job. Texts are not NUL-terminated where a size is given; they live as long as the job. */
BH_API const char* bh_job_id(const bh_job* job);                  /* NUL-terminated */
BH_API const char* bh_job_input(const bh_job* job, size_t* size); /* one JSON value */
BH_API const char* bh_job_extra(const bh_job* job, size_t* size); /* further top-level keys as one JSON object, or "" */
BH_API const char* bh_job_traceparent(const bh_job* job, size_t* size); /* the request's (W3C Trace Context), or "" */
BH_API const void* bh_job_checkpoint(const bh_job* job, size_t* size);  /* the last one saved, or NULL */
BH_API int bh_job_attempt(const bh_job* job);                           /* 1 is the first */
BH_API bh_stop_reason bh_job_stopping(const bh_job* job); /* why it should stop, BH_RUNNING while it need not */
BH_API void* bh_job_user(const bh_job* job);              /* what the binding hung on it */
BH_API void bh_job_set_user(bh_job* job, void* user);

/* What a running job says. Progress replaces earlier progress; text is cut at 8 KiB a line. */
BH_API int bh_job_progress(bh_job* job, const char* json, size_t size);
BH_API int bh_job_log(bh_job* job, bh_level level, const char* text, size_t size);
BH_API int bh_log(bh_child* child, bh_level level, const char* text, size_t size); /* outside any job */

/* One streamed output. Waits up to timeout_ms (-1: for ever) for credit while results are taken slower than they are
 * made; BH_AGAIN then means: not sent, try again (after BH_EVENT_CREDIT, if timeout_ms was 0). */
BH_API int bh_job_chunk(bh_job* job, const char* json, size_t size, int timeout_ms);

/* Keeps `data` for a later attempt of this job. Returns once it is durable, or BH_AGAIN after timeout_ms (it may still
 * become durable). */
BH_API int bh_job_save_checkpoint(bh_job* job, const void* data, size_t size, int timeout_ms);
/* For whoever does not wait: BH_OK when nothing saved is on its way any more, all of it is durable. BH_AGAIN while something
 * is; BH_EVENT_CREDIT comes when it has arrived. While something is on its way nothing else is sent: save again then. */
BH_API int bh_job_checkpoint_saved(bh_job* job);

/* The result, once; the job is freed. `output` may be NULL (no output). On BH_TOO_LARGE and BH_SYSTEM the job is NOT
 * freed: answer with something smaller. All other returns free it; BH_CANCELLED does not occur here. stdout is flushed
 * first. */
BH_API int bh_job_done(bh_job* job, const char* output, size_t size, int flags);
/* The same without a copy, for a large result. Whatever this returns, release(user) is called once: when the supervisor
 * has the output, or nobody will send it any more. Until then it must stay as it is. Any thread may call it, perhaps before
 * this returns; it must be quick and call nothing of this library. */
BH_API int bh_job_done_owned(bh_job* job, const char* output, size_t size, int flags, void (*release)(void* user),
                             void* user);
BH_API int bh_job_failed(bh_job* job, const char* error, size_t error_size, const char* output, size_t output_size,
                         int flags);

/* Gives all results time to leave the process (at most timeout_ms), then disconnects and frees. Jobs still open count as
 * crashed. BH_AGAIN when something could not be delivered in time. */
BH_API int bh_close(bh_child* child, int timeout_ms);

/* For BH_TOO_LARGE, the limit that the calling thread met last. */
BH_API const char* bh_strerror(int status);
BH_API const char* bh_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif
#endif
