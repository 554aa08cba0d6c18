"""Many clients on a server of this machine, a third of which vanish: python3 serve_soak.py [options]

Starts `minference serve` on a free port, asks each of a set of prompts once for its greedy answer,
then lets clients ask them at random. Clients that vanish close their connection while the prompt is read or the
answer comes. Every whole answer is compared with the first one. Prints requests, failures, differences, resident memory over time, and
the longest stall; the exit status is 1 where an answer differs, a request fails for another reason than a full queue, the
server ends, or its memory is not flat: the most of the last third is more than 5 % and 32 MiB above the most of the second third, by which time
--memory should be full. Bounded: by --seconds, and by 60 more for what is under way. With --kill N (1 if no number is given), the server is killed
(SIGKILL) and started anew N times, at moments that the seed decides, on the same --cache-dir; after the end, the directory has to hold whole files alone.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

WORDS = "map chest cart lantern river stone ship door bridge garden letter clock".split()


class Server:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory

    def start(self):
        model = ["--model", self.options.model] if self.options.model else []
        command = [self.options.binary, "serve", *model, "--port", "0", "--log-level", "warning", "--max-requests", "2000",
                   "--kv-memory", self.options.memory, "--chunk", "2048", "--cache-dir", self.directory,
                   "--cache-size", self.options.cache_size]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(1))
                break
        else:
            sys.exit("the server did not start")

    def metrics(self):
        """What is told of the disk and of the longest stall."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as response:
            text = response.read().decode()
        names = ["disk_hits_total", "disk_failures_total", "disk_bytes", "longest_stall_seconds"]
        return {name: float(re.search(rf"^minference:{name}(?:{{.*}})? (\S+)$", text, re.M).group(1)) for name in names}

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) // 1024


def prompts(count, seed, lengths):
    random.seed(seed)
    documents = []
    for _ in range(max(1, count // 4)):
        length = random.choice(lengths)
        documents.append(" ".join(random.choice(WORDS) for _ in range(length)))
    return [f"{documents[i % len(documents)]}. The key of {WORDS[i % 12]} is {1000 + i}. What is the key?" for i in range(count)]


async def ask(port, prompt, stream, tokens=16, leave_after=None):
    """The answer's text; None where the client left, or the queue was full."""
    body = json.dumps({"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "temperature": 0,
                       "stream": stream, "ignore_eos": True}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
                     b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        if leave_after is not None:
            await asyncio.sleep(leave_after)
            return None
        data = await asyncio.wait_for(reader.read(-1), 300)
    finally:
        writer.close()
    head, _, rest = data.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    if status in (429, 503):
        return None
    if status != 200:
        raise RuntimeError(f"status {status}: {rest[:200]!r}")
    if b"chunked" in head.lower():
        parts, rest_ = [], rest
        while rest_:
            size, _, rest_ = rest_.partition(b"\r\n")
            if int(size, 16) == 0:
                break
            parts.append(rest_[:int(size, 16)])
            rest_ = rest_[int(size, 16) + 2:]
        rest = b"".join(parts)
    if not stream:
        return json.loads(rest)["choices"][0]["message"]["content"]
    text = ""
    if b"data: [DONE]" not in rest:
        raise RuntimeError("the stream ended early")
    for line in rest.decode().split("\n"):
        if line.startswith("data: ") and line != "data: [DONE]":
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(event["error"]["message"])
            for choice in event["choices"]:
                text += choice["delta"].get("content") or ""
    return text


async def run(options, server):
    texts = prompts(options.prompts, options.seed, options.lengths)
    expected = [await ask(server.port, text, stream=False) for text in texts]
    counts = {"whole": 0, "left": 0, "refused": 0, "failed": 0, "different": 0}
    end = time.monotonic() + options.seconds
    state = {"down": False}

    async def client(number):
        source = random.Random(options.seed * 1000 + number)
        while time.monotonic() < end:
            index = source.randrange(len(texts))
            leaves = source.random() < 1 / 3
            generation = server.process.pid
            try:
                text = await ask(server.port, texts[index], stream=source.random() < 0.7,
                                 leave_after=source.random() * 2 if leaves else None)
            except (OSError, RuntimeError, ValueError, IndexError, asyncio.TimeoutError) as error:
                if not state["down"] and generation == server.process.pid:
                    counts["failed"] += 1
                    print(f"failed: {error!r}", flush=True)
                await asyncio.sleep(0.5)
                continue
            if leaves:
                counts["left"] += 1
            elif text is None:
                counts["refused"] += 1
                await asyncio.sleep(0.5)
            else:
                counts["whole"] += 1
                if text != expected[index]:
                    counts["different"] += 1
                    print(f"different: prompt {index}: {text!r}, not {expected[index]!r}", flush=True)

    resident = []

    async def watch():
        while time.monotonic() < end:
            if not state["down"]:
                elapsed = options.seconds - (end - time.monotonic())
                resident.append((elapsed / options.seconds, server.resident()))
                print(f"{elapsed:6.0f} s  {resident[-1][1]:6d} MiB  {counts}", flush=True)
            await asyncio.sleep(options.seconds / 30)

    async def kill():
        source = random.Random(options.seed)
        # Not so late that nothing comes of the last start.
        moments = sorted(source.uniform(0.1, 0.9) * options.seconds for _ in range(options.kill))
        for moment in moments:
            await asyncio.sleep(max(0.0, end - options.seconds + moment - time.monotonic()))
            state["down"] = True
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            left = sorted(os.listdir(server.directory))
            await asyncio.to_thread(server.start)
            state["down"] = False
            print(f"killed with {sum(name.endswith('.draft') for name in left)} drafts among {len(left)} files, and started anew", flush=True)

    tasks = [client(number) for number in range(options.clients)] + [watch()]
    if options.kill:
        tasks.append(kill())
    await asyncio.wait_for(asyncio.gather(*tasks), options.seconds + 60)
    print(counts, await asyncio.to_thread(server.metrics))
    wrong = counts["failed"] + counts["different"]
    middle, last = ([mib for share, mib in resident if low < share <= high] for low, high in ((1 / 3, 2 / 3), (2 / 3, 1)))
    # A server that was killed begins anew.
    if middle and last and not options.kill:
        print(f"resident memory: {max(middle)} MiB in the second third, {max(last)} MiB in the last")
        wrong += max(last) > 1.05 * max(middle) + 32
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=".build/release/minference")
    parser.add_argument("--model", help="the built-in model if not given")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--lengths", type=int, nargs="+", default=[40, 200, 800, 3000], help="words that documents may have")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--memory", default="512M")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache-size", default="16G")
    parser.add_argument("--kill", type=int, nargs="?", const=1, default=0, metavar="N")
    options = parser.parse_args()
    if not 1 <= options.clients <= 500 or not 1 <= options.seconds <= 3600:
        parser.error("--clients goes from 1 to 500, --seconds from 1 to 3600")
    with tempfile.TemporaryDirectory() as directory:
        server = Server(options, directory)
        server.start()
        try:
            wrong = asyncio.run(run(options, server))
            alive = server.process.poll() is None
        finally:
            server.process.send_signal(signal.SIGTERM)
            status = server.process.wait(60)
        print(f"the server ended with status {status}")
        drafts = [name for name in os.listdir(directory) if name.endswith(".draft")]
        if drafts:
            print(f"it left {len(drafts)} drafts")
            wrong += 1
        sys.exit(1 if wrong or not alive or status else 0)


main()
