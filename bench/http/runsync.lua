-- wrk: POST of a small job to /runsync.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"input": {"prompt": "the quick brown fox jumps over the lazy dog", "n": 1}}'
