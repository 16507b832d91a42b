"""examples/python/ocr: streamed lines, progress, a crash and a refresh. Needs the example's own virtual environment."""

import base64
import json
import os
from pathlib import Path

import pytest

from endpoint import SOURCE, Endpoint, until

EXAMPLE = SOURCE / "examples" / "python" / "ocr"
PYTHON = Path(os.environ.get("BULKHEAD_OCR_PYTHON", EXAMPLE / ".venv" / "bin" / "python"))
IMAGES = SOURCE / "examples" / "ocr"


@pytest.fixture(scope="module")
def ocr(tmp_path_factory):
    assert PYTHON.exists(), f"{PYTHON} is not there: examples/python/ocr/README.md says how to make it"
    with Endpoint([str(PYTHON), str(EXAMPLE / "handler.py")], ready=False,
                  state=tmp_path_factory.mktemp("ocr") / "state") as endpoint:
        yield endpoint


def test_lines_are_streamed(ocr):
    job = ocr.run({"path": str(IMAGES / "invoice.png")})
    first, ended = [], None
    while not first:
        polled = ocr.get(f"/stream/{job}?wait=60000").json
        first, ended = polled["stream"], polled["status"]
        assert first or ended in ("IN_QUEUE", "IN_PROGRESS"), polled
    assert ended == "IN_PROGRESS", "the first lines are there before the last"
    final = ocr.wait(job, 240)
    assert final["status"] == "COMPLETED", final
    texts = [line["text"] for line in final["output"]]
    assert first[0]["output"] == final["output"][0] and texts[0] == "HARBOUR CHANDLERY LTD" and len(texts) > 20
    assert all(line["image"] == 0 and 0 < line["score"] <= 1 and len(line["box"]) == 4 for line in final["output"])


def test_images_in_the_input_and_progress(ocr):
    image = base64.b64encode((IMAGES / "receipt.png").read_bytes()).decode()
    job = ocr.run({"image": [image, image]})
    shown = until(lambda: ocr.get(f"/status/{job}").json.get("output"), 240, "progress")
    assert shown == {"images_read": 1, "of": 2} or isinstance(shown, list)
    lines = ocr.wait(job, 240)["output"]
    first, second = ([line["text"] for line in lines if line["image"] == number] for number in (0, 1))
    assert first == second and first


def test_what_is_no_image(ocr):
    for wrong, said in (({}, "neither image nor path"), ({"image": "%%"}, r"image[0] is not base64"),
                        ({"image": "aGVsbG8="}, "image 0 is none that can be read"), ({"path": "no.png"}, "no.png")):
        answer = ocr.runsync(wrong)
        assert answer["status"] == "FAILED" and said in answer["error"], answer


def test_a_crash_and_a_refresh(ocr):
    page = str(IMAGES / "receipt.png")
    job = ocr.run({"path": [page, page], "crash_on": 1})
    after = ocr.run({"path": page})
    crashed = ocr.wait(job, 240)
    assert crashed["status"] == "FAILED" and json.loads(crashed["error"])["signal"] == "SIGSEGV"
    assert [chunk["output"]["image"] for chunk in ocr.get(f"/stream/{job}").json["stream"]]
    assert ocr.wait(after, 240)["status"] == "COMPLETED"
    assert ocr.runsync({"refresh": True})["output"] == {"refreshed": True}
    assert ocr.runsync({"path": page})["status"] == "COMPLETED"
