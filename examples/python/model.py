"""A model that is loaded outside the handler: once per process, before the first job."""

import collections
import re

import runpod

CORPUS = """the ship is built in cells so that a leak in one does not sink the ship and
the cells are closed so that the water stays in the one that leaks and the ship goes on"""


class Model:
    """Says which word is likely to follow a word: counts of pairs, and no more."""

    loaded = 0

    def __init__(self, corpus):
        Model.loaded += 1
        words = re.findall(r"\w+", corpus)
        self.after = collections.defaultdict(collections.Counter)
        for word, following in zip(words, words[1:]):
            self.after[word][following] += 1

    def go_on(self, word, most):
        words = [word]
        while len(words) < most and self.after[words[-1]]:
            words.append(self.after[words[-1]].most_common(1)[0][0])
        return " ".join(words)


model = Model(CORPUS)


def handler(job):
    return {"text": model.go_on(job["input"].get("word", "the"), job["input"].get("words", 5)), "loaded": Model.loaded}


if __name__ == "__main__":
    runpod.serverless.start({"handler": handler})
