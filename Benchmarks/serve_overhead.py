"""What the server adds to `minference generate`: python3 serve_overhead.py [--length 8192] [--repeats 5] [--model M]

Times the first token of a prompt that the server has not seen, from request to first byte of text, against `time_to_first_token_s` of
`generate --json` on the same prompt; then of a second question about the same document. Prints the medians in seconds.
"""

import argparse
import http.client
import json
import random
import re
import statistics
import subprocess
import tempfile
import time


def document(words, seed):
    source = random.Random(seed)
    return " ".join(source.choice("map chest cart lantern river stone ship door bridge garden".split()) for _ in range(words))


def first_token(port, content):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": 4, "temperature": 0, "stream": True,
                       "ignore_eos": True, "stream_options": {"include_usage": True}})
    start = time.monotonic()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    first, usage = None, None
    for line in response:
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if first is None and any(choice["delta"].get("content") for choice in event["choices"]):
                first = time.monotonic() - start
            usage = event.get("usage") or usage
    return first, usage


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=".build/release/minference")
    parser.add_argument("--model")
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    model = ["--model", options.model] if options.model else []
    server = subprocess.Popen([options.binary, "serve", *model, "--port", "0", "--log-level", "warning"], stderr=subprocess.PIPE, text=True)
    try:
        port = next(int(m.group(1)) for line in server.stderr if (m := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        words = options.length
        served, again, alone = [], [], []
        for repeat in range(options.repeats + 1):
            text = document(words, repeat)
            question = "\n\nWhat is the key?"
            seconds, usage = first_token(port, text + question)
            if repeat == 0:
                # The first warms both up, and says how many words make the length.
                words = int(words * options.length / usage["prompt_tokens"])
                continue
            served.append(seconds)
            assert usage["prompt_tokens_details"]["cached_tokens"] < 64, usage
            seconds, usage = first_token(port, text + "\n\nWhere is it?")
            again.append(seconds)
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                file.write(text + question)
                file.flush()
                command = [options.binary, "generate", *(model or ["--model", "Models/minference-tiny"]), "--prompt-file", file.name,
                           "--max-tokens", "4", "--json"]
                alone.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["time_to_first_token_s"])
        print(json.dumps({"prompt_tokens": usage["prompt_tokens"], "generate": statistics.median(alone), "serve": statistics.median(served),
                          "second_question": statistics.median(again)}))
    finally:
        server.terminate()
        server.wait(60)


main()
