"""Many questions about one document at once: python3 serve_shared.py [--length 14000] [--questions 8] [--model M] [--device D]

Starts `minference serve`, asks about a long document, and then N other questions about it at the same time. Prints the bytes of keys and values before
them and at most meanwhile (`minference:kv_bytes`), those of the same answers if each held the document by itself, the seconds to the first tokens, how many
answers ran at once, and the tokens a second of all together. Then a new server is asked the same, one question after the other, and the answers are compared.
The exit status is 1 where they differ, on a CPU: a GPU may round products of several rows otherwise.
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


def document(words, seed):
    source = random.Random(seed)
    return " ".join(source.choice("map chest cart lantern river stone ship door bridge garden".split()) for _ in range(words))


class Server:
    def __init__(self, options):
        command = [options.binary, "serve", "--port", "0", "--log-level", "warning", "--parallel", str(options.questions + 1)]
        for name in ("model", "device", "threads", "kv_memory"):
            if getattr(options, name):
                command += ["--" + name.replace("_", "-"), str(getattr(options, name))]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.port = next(int(m.group(1)) for line in self.process.stderr if (m := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        threading.Thread(target=lambda: [print("server:", line, end="", flush=True) for line in self.process.stderr], daemon=True).start()

    def metric(self, name):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{") or line.startswith(name + " "))

    def ask(self, content, tokens, result=None):
        """Text, usage, and when each piece of text came."""
        result = {} if result is None else result
        result.update(text="", times=[], start=time.monotonic())
        body = json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": tokens, "temperature": 0, "stream": True,
                           "ignore_eos": True, "stream_options": {"include_usage": True}})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        for line in connection.getresponse():
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            for choice in event["choices"]:
                if piece := choice["delta"].get("content"):
                    result["text"] += piece
                    result["times"].append(time.monotonic())
            result["usage"] = event.get("usage") or result.get("usage")
        return result

    def stop(self):
        self.process.terminate()
        return self.process.wait(300)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=".build/release/minference")
    parser.add_argument("--model", help="the built-in model if not given")
    parser.add_argument("--device")
    parser.add_argument("--threads")
    parser.add_argument("--kv-memory")
    parser.add_argument("--length", type=int, default=14000, help="tokens of the document")
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64, help="tokens of an answer")
    options = parser.parse_args()
    server = Server(options)
    words = options.length
    usage = server.ask(document(words // 8, 0) + "\n\nWhat is the key?", 2)["usage"]
    text = document(int(words / 8 * options.length / usage["prompt_tokens"]), 1)
    ask = lambda number: f"{text}\n\nQuestion {number}: where is the {'map chest cart lantern river stone ship door'.split()[number % 8]}?"
    first = server.ask(ask(99), 2)
    time.sleep(0.2)
    before, most = server.metric("minference:kv_bytes"), 0
    results = [{} for _ in range(options.questions)]
    threads = [threading.Thread(target=server.ask, args=(ask(number), options.tokens, result)) for number, result in enumerate(results)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, server.metric("minference:kv_bytes"))
        time.sleep(0.005)
    begun, ended = sorted(r["times"][0] for r in results), sorted(r["times"][-1] for r in results)
    together = max(sum(r["times"][0] <= moment <= r["times"][-1] for r in results) for moment in begun)
    tokens = sum(r["usage"]["completion_tokens"] for r in results)
    cached = min(r["usage"]["prompt_tokens_details"]["cached_tokens"] for r in results)
    per_token = before / max(1, first["usage"]["prompt_tokens"])
    server.stop()
    same, asked = 0, options.questions
    # One after the other, each in the place of the one before.
    alone = Server(options)
    alone.ask(ask(99), 2)
    for number, result in enumerate(results):
        same += alone.ask(ask(number), options.tokens)["text"] == result["text"]
    alone.stop()
    waits = [r["times"][0] - r["start"] for r in results]
    print(f"{first['usage']['prompt_tokens']} tokens, first {first['times'][0] - first['start']:.3f} s; {asked} questions at once, {cached} tokens cached of each:\n"
          f"first tokens after {min(waits):.3f} to {max(waits):.3f} s (median {statistics.median(waits):.3f}), {together} answers ran together, "
          f"{tokens / (ended[-1] - begun[0]):.0f} tokens/s\n"
          f"keys and values: {before / 2**20:.0f} MiB before, {most / 2**20:.0f} MiB at most; by themselves about {per_token * cached * (asked + 1) / 2**20:.0f} MiB\n"
          f"answers asked one after the other: {same} of {asked} equal")
    raise SystemExit(0 if same == asked or options.device == "cuda" else 1)


main()
