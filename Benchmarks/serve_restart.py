"""A prefix after a restart: python3 serve_restart.py [--length 14000] [--repeats 3] [--model M] [--device D]

Starts `minference serve` with an empty `--cache-dir`, asks about a long document, asks a second question about it, stops the server (SIGTERM), starts
it anew on the same directory and asks the second question again, which comes from disk then. Each repeat has a document of its own. Prints the times
to the first token in seconds, their shares of the first, what is on disk, and whether the answers are equal. With --drop-caches (root alone) the file system's
cache is emptied before the restart: the disk is read then.

With --beside N, N answers run while the prefix is read back, and the longest wait of one of them for its next token is printed.
"""

import argparse
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import tempfile
import threading
import time


def document(words, seed):
    source = random.Random(seed)
    return " ".join(source.choice("map chest cart lantern river stone ship door bridge garden".split()) for _ in range(words))


class Server:
    def __init__(self, options, directory):
        command = [options.binary, "serve", "--port", "0", "--log-level", "warning", "--cache-dir", directory, "--cache-size", options.cache_size]
        for name in ("model", "device", "threads"):
            if getattr(options, name):
                command += [f"--{name}", str(getattr(options, name))]
        command += options.argument
        start = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.port = next(int(m.group(1)) for line in self.process.stderr if (m := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        self.start_seconds = time.monotonic() - start
        threading.Thread(target=lambda: [print("server:", line, end="", flush=True) for line in self.process.stderr], daemon=True).start()

    def ask(self, content, tokens, waits=None):
        """The seconds to the first text, the answer, and the tokens that were cached."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
        body = json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": tokens, "temperature": 0, "stream": True,
                           "ignore_eos": True, "stream_options": {"include_usage": True}})
        start = time.monotonic()
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        first, text, usage, last = None, "", None, None
        for line in connection.getresponse():
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            for choice in event["choices"]:
                piece = choice["delta"].get("content") or ""
                now = time.monotonic()
                if piece and first is None:
                    first = now - start
                if piece and waits is not None and last is not None:
                    waits.append((now, now - last))
                if piece:
                    last = now
                text += piece
            usage = event.get("usage") or usage
        return first, text, usage

    def disk_rate(self):
        """GB/s at which prefixes came from disk, from the first block's request to the last copy."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        read, seconds = (float(re.search(rf"^minference:disk_read_{name}_total(?:{{.*}})? (\S+)$", text, re.M).group(1))
                         for name in ("bytes", "seconds"))
        return read / seconds / 1e9 if seconds else 0.0

    def stop(self):
        start = time.monotonic()
        self.process.terminate()
        status = self.process.wait(900)
        assert status == 0, f"the server ended with status {status}"
        return time.monotonic() - start


def size(directory):
    return sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(directory) for name in names)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=".build/release/minference")
    parser.add_argument("--model", help="the built-in model if not given")
    parser.add_argument("--device")
    parser.add_argument("--threads")
    parser.add_argument("--length", type=int, default=14000, help="tokens of the document")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--warm-up", type=int, default=64, help="words of a document that is asked about first, twice, after every start")
    parser.add_argument("--beside", type=int, default=0)
    parser.add_argument("--cache-size", default="64G")
    parser.add_argument("--drop-caches", action="store_true")
    parser.add_argument("--argument", action="append", default=[], help="one more argument of the server (repeatable)")
    options = parser.parse_args()
    questions = ["\n\nWhat is the key?", "\n\nWhere is it?"]
    words = options.length
    rows, equal, longest = [], True, 0.0

    def warm_up(server):
        for question in questions:
            server.ask(document(options.warm_up, 99) + question, 2)

    for repeat in range(options.repeats + 1):
        with tempfile.TemporaryDirectory() as directory:
            server = Server(options, directory)
            if repeat == 0:
                # Says how many words make the length; what is compiled at first use is compiled.
                _, _, usage = server.ask(document(words, 0) + questions[0], 2)
                words = int(words * options.length / usage["prompt_tokens"])
                server.stop()
                continue
            warm_up(server)
            text = document(words, repeat)
            first, _, usage = server.ask(text + questions[0], options.tokens)
            assert usage["prompt_tokens_details"]["cached_tokens"] < 64, usage
            memory, expected, _ = server.ask(text + questions[1], options.tokens)
            stop = server.stop()
            if options.drop_caches:
                os.sync()
                with open("/proc/sys/vm/drop_caches", "w") as file:
                    file.write("3")
            server = Server(options, directory)
            warm_up(server)
            waits = []
            beside = [threading.Thread(target=server.ask, args=(document(64, 200 + n), 400, waits)) for n in range(options.beside)]
            for thread in beside:
                thread.start()
            if beside:
                time.sleep(0.5)
            begin = time.monotonic()
            disk, found, usage = server.ask(text + questions[1], options.tokens)
            end = time.monotonic()
            for thread in beside:
                thread.join()
            longest = max([longest] + [wait for now, wait in waits if begin < now < end + wait])
            same = found == expected
            equal = equal and same
            cached = usage["prompt_tokens_details"]["cached_tokens"]
            rows.append((first, memory, disk, stop, server.start_seconds))
            print(f"{usage['prompt_tokens']} tokens, {cached} of them from disk ({size(directory) / 2**20:.0f} MiB): first {first:.4f}, from memory {memory:.4f} "
                  f"({memory / first:.1%}), from disk {disk:.4f} ({disk / first:.1%}, {server.disk_rate():.2f} GB/s), stopping {stop:.2f}, starting {server.start_seconds:.2f} s, "
                  f"answers {'equal' if same else 'DIFFERENT'}", flush=True)
            server.stop()
    first, memory, disk, stop, start = (statistics.median(column) for column in zip(*rows))
    print("| tokens | first | second, from memory | second, from disk | stop | start | equal |\n| --- | --- | --- | --- | --- | --- | --- |")
    print(f"| {options.length:,} | {first:.4f} | {memory:.4f} ({memory / first:.1%}) | {disk:.4f} ({disk / first:.1%}) | {stop:.2f} | {start:.2f} | "
          f"{'yes' if equal else 'no'} |")
    if options.beside:
        print(f"longest wait of an answer beside: {longest:.3f} s")
    raise SystemExit(0 if equal else 1)


main()
