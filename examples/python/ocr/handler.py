"""Text out of images with RapidOCR: its models are loaded once per process, and each line of text is streamed when it is read.

A job's input has `image` (base64, or an array) or `path` (a file, or an array). Two things happen on request: `crash_on` makes
the process write to a null pointer before that image (counted from 0), and `refresh` asks for a fresh process instead of text.
"""

import base64
import binascii
import ctypes

import cv2
import numpy
import runpod
from rapidocr_onnxruntime import RapidOCR

engine = RapidOCR()


def handler(job):
    asked = job["input"]
    if asked.get("refresh"):
        return {"refresh_worker": True, "refreshed": True}
    return read(job, images_of(asked), asked.get("crash_on"))


def read(job, images, crash_on):
    """Yields {"image", "text", "score", "box"} for each line of text, from the top of the first image on."""
    for number, bytes_of_image in enumerate(images):
        if number == crash_on:
            ctypes.memset(0, 0, 1)
        image = cv2.imdecode(numpy.frombuffer(bytes_of_image, numpy.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"image {number} is none that can be read")
        boxes, _ = engine(image, use_det=True, use_cls=False, use_rec=False)
        for box in boxes or []:
            found, _ = engine(straightened(image, box), use_det=False, use_cls=False, use_rec=True)
            text, score = found[0] if found else ("", 0.0)
            if text:
                yield {"image": number, "text": text, "score": round(float(score), 4),
                       "box": [[round(x), round(y)] for x, y in box]}
        runpod.serverless.progress_update(job, {"images_read": number + 1, "of": len(images)})


def straightened(image, box):
    """The piece of the image in a box, whose four corners may be askew, as a rectangle."""
    corners = numpy.array(box, numpy.float32)
    width = int(max(numpy.linalg.norm(corners[0] - corners[1]), numpy.linalg.norm(corners[3] - corners[2]), 1))
    height = int(max(numpy.linalg.norm(corners[0] - corners[3]), numpy.linalg.norm(corners[1] - corners[2]), 1))
    straight = numpy.array([[0, 0], [width, 0], [width, height], [0, height]], numpy.float32)
    turn = cv2.getPerspectiveTransform(corners, straight)
    return cv2.warpPerspective(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)


def images_of(asked):
    """The bytes of all images of an input."""
    encoded, paths = listed(asked.get("image")), listed(asked.get("path"))
    if not encoded and not paths:
        raise ValueError("the input has neither image nor path")
    images = []
    for path in paths:
        with open(path, "rb") as file:
            images.append(file.read())
    for number, text in enumerate(encoded):
        try:
            images.append(base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise ValueError(f"image[{number}] is not base64: {error}") from None
    return images


def listed(value):
    return value if isinstance(value, list) else [] if value is None else [value]


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})
