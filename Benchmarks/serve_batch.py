"""Answers that a server decodes together: python3 serve_batch.py [--model M] [--length 4096] [--sequences 1 16] [--stall 120000]

Starts `minference serve` on a free port. For each number of sequences it asks as many different prompts at once and measures while all of them
are answered: tokens a second of all together, and the milliseconds between two tokens of one, beside those that the engine spent on a round
by its own metrics (the difference is HTTP, JSON and this script). Then, with --stall N, it asks a prompt of N tokens while four
answers run, and prints the longest time that one of these waited for its next token.
"""

import argparse
import http.client
import json
import random
import re
import statistics
import subprocess
import threading
import time

WORDS = "map chest cart lantern river stone ship door bridge garden letter clock".split()


def document(words, seed):
    source = random.Random(seed)
    return " ".join(source.choice(WORDS) for _ in range(words))


class Answer(threading.Thread):
    """One streamed answer; `times` are those of its pieces of text."""

    def __init__(self, port, content, tokens):
        super().__init__(daemon=True)
        self.port, self.tokens, self.times, self.usage = port, tokens, [], None
        self.body = json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": tokens, "temperature": 0, "stream": True,
                                "ignore_eos": True, "stream_options": {"include_usage": True}})

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        connection.request("POST", "/v1/chat/completions", self.body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        for line in response:
            if line.startswith(b"data: {"):
                if b'"delta":{"content":"' in line and b'"delta":{"content":""' not in line:
                    self.times.append(time.monotonic())
                elif b'"usage":' in line:
                    self.usage = json.loads(line[6:])["usage"]


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{") or line.startswith(name + " "))


def ask_together(port, count, words, tokens, seed):
    rounds = metric(port, "llamacpp:n_decode_total"), metric(port, "llamacpp:tokens_predicted_seconds_total")
    answers = [Answer(port, document(words, seed * 100 + number) + ". What is the key?", tokens) for number in range(count)]
    for answer in answers:
        answer.start()
    for answer in answers:
        answer.join(900)
    begin, end = max(a.times[0] for a in answers), min(a.times[-1] for a in answers)
    inside = sum(sum(begin < t <= end for t in a.times) for a in answers)
    # Pieces of text are fewer than tokens where characters take several.
    share = sum(a.usage["completion_tokens"] for a in answers) / sum(len(a.times) for a in answers)
    gaps = [b - a for answer in answers for a, b in zip(answer.times, answer.times[1:]) if begin < b <= end]
    after = metric(port, "llamacpp:n_decode_total"), metric(port, "llamacpp:tokens_predicted_seconds_total")
    return {"sequences": count, "prompt_tokens": answers[0].usage["prompt_tokens"],
            "tokens_per_s": inside * share / (end - begin) if end > begin else None,
            "ms_between_tokens": statistics.mean(gaps) * 1000 if gaps else None,
            "engine_ms_a_round": (after[1] - rounds[1]) / max(1, after[0] - rounds[0]) * 1000}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=".build/release/minference")
    parser.add_argument("--model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--stall", type=int, default=0)
    options = parser.parse_args()
    if not all(1 <= count <= 64 for count in options.sequences):
        parser.error("--sequences go from 1 to 64")
    model = ["--model", options.model] if options.model else []
    server = subprocess.Popen([options.binary, "serve", *model, "--device", options.device, "--port", "0", "--parallel",
                               str(max(options.sequences + [5])), "--stop-within", "2", "--log-level", "warning"], stderr=subprocess.PIPE, text=True)
    try:
        port = next(int(m.group(1)) for line in server.stderr if (m := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        # Warms up, and says how many words make the length.
        first = ask_together(port, 1, 500, 8, 1)
        words = max(1, int(500 * options.length / first["prompt_tokens"]))
        results = []
        for number, count in enumerate(options.sequences):
            ask_together(port, count, words // 8 + 1, 8, 10 + number)
            results.append(ask_together(port, count, words, options.tokens, 20 + number))
            print(json.dumps(results[-1]), flush=True)
        if len(results) > 1:
            print(json.dumps({"throughput_ratio": results[-1]["tokens_per_s"] / results[0]["tokens_per_s"]}), flush=True)
        if options.stall:
            answers = [Answer(port, document(words, 50 + number), 4096) for number in range(4)]
            for answer in answers:
                answer.start()
            while not all(len(a.times) > 4 for a in answers):
                time.sleep(0.01)
            long = Answer(port, document(int(words * options.stall / options.length), 99), 4)
            start = time.monotonic()
            long.start()
            long.join(900)
            end = time.monotonic()
            gaps = [b - a for answer in answers for a, b in zip(answer.times, answer.times[1:]) if b > start and a < end]
            print(json.dumps({"stall_prompt_tokens": long.usage["prompt_tokens"], "first_token_s": long.times[0] - start,
                              "longest_stall_ms": max(gaps) * 1000, "tokens_meanwhile": len(gaps),
                              "engine_longest_stall_ms": metric(port, "minference:longest_stall_seconds") * 1000}))
    finally:
        server.terminate()
        server.wait(60)


main()
