"""Processor time of prompts and of decoding beside llama-bench of llama.cpp and of what is made from it.

    python3 Benchmarks/beside_llama.py --binary .build/release/minference --model MODEL.gguf --text BOOK.txt \
        --prompts 512 8192 --behind 512 --repeats 3 \
        --bench "llama.cpp=BUILD/bin/llama-bench --no-warmup" \
        --bench "ik_llama.cpp=BUILD/bin/llama-bench --warmup 0 --run-time-repack 1"

One thread each. Every figure is tokens a second of processor time (user and system) of a whole process, less that of
a process that reads 16 tokens (prompts) or writes 64 tokens fewer (decoding): loading does not count, and other
users of the machine count little. The programs take turns; medians are printed, with the least and the most.
minference reads the beginning of the text with its default attention, llama-bench its own tokens.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile

SHORT, FEW, MORE = 16, 8, 64


def processor_time(command, output=subprocess.DEVNULL):
    """Seconds of user and system time, and what the command wrote."""
    with tempfile.TemporaryFile() as file:
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        text = file.read().decode()
    if child.returncode != 0:
        sys.exit(f"beside_llama: {shlex.join(command)} ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime, text


class MInference:
    def __init__(self, binary, model, text, folder):
        self.command = [binary, "generate", "--threads", "1", "--device", "cpu", "--model", model, "--raw", "--json"]
        self.name, self.binary, self.model, self.text, self.folder = "minference", binary, model, text, folder
        self.files = {}

    def prompt(self, tokens):
        """A file whose text has so many tokens, or one fewer."""
        if tokens not in self.files:
            path = os.path.join(self.folder, f"{tokens}.txt")

            def count(characters):
                with open(path, "w") as file:
                    file.write(self.text[:characters])
                run = subprocess.run([self.binary, "tokenize", "--model", self.model, "--file", path],
                                     capture_output=True, text=True, check=True)
                return len(run.stdout.split())

            low, high = 1, min(len(self.text), 8 * tokens)
            if count(high) < tokens:
                sys.exit(f"beside_llama: the text has fewer than {tokens} tokens")
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if count(middle) <= tokens else (low, middle)
            count(low)
            self.files[tokens] = path
        return self.files[tokens]

    def reading(self, tokens):
        seconds, text = processor_time(self.command + ["--prompt-file", self.prompt(tokens), "--max-tokens", "1"])
        return seconds, json.loads(text)["prompt_tokens"]

    def writing(self, behind, tokens):
        seconds, text = processor_time(
            self.command + ["--prompt-file", self.prompt(behind), "--temperature", "0", "--max-tokens", str(tokens)])
        return seconds, json.loads(text)["completion_tokens"]


class LlamaBench:
    def __init__(self, named, model):
        self.name, command = named.split("=", 1)
        self.command = shlex.split(command) + ["-m", model, "-t", "1", "-r", "1"]
        help_text = subprocess.run(self.command[:1] + ["--help"], capture_output=True, text=True).stdout
        self.has_depth = "--n-depth" in help_text

    def reading(self, tokens):
        return processor_time(self.command + ["-p", str(tokens), "-n", "0"])[0], tokens

    def writing(self, behind, tokens):
        if self.has_depth:
            arguments = ["-p", "0", "-n", str(tokens), "-d", str(behind)]
        else:
            arguments = ["-p", "0", "-n", "0", "-gp", f"{behind},{tokens}"]
        return processor_time(self.command + arguments)[0], tokens


def rate(more, fewer):
    if more[1] - fewer[1] < 12:
        sys.exit(f"beside_llama: the answer ended after {more[1]} tokens; give another text")
    return (more[1] - fewer[1]) / (more[0] - fewer[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--prompts", type=int, nargs="*", default=[512, 8192])
    parser.add_argument("--behind", type=int, nargs="*", default=[512])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bench", action="append", default=[], metavar="NAME=COMMAND")
    arguments = parser.parse_args()
    with open(arguments.text, errors="replace") as file:
        text = file.read()
    with tempfile.TemporaryDirectory() as folder:
        programs = [MInference(arguments.binary, arguments.model, text, folder)]
        programs += [LlamaBench(named, arguments.model) for named in arguments.bench]
        cases = [(f"prompt of {n}", lambda p, n=n: rate(p.reading(n), p.reading(SHORT))) for n in arguments.prompts]
        cases += [(f"decoding behind {n}", lambda p, n=n: rate(p.writing(n, FEW + MORE), p.writing(n, FEW)))
                  for n in arguments.behind]
        for name, measure in cases:
            rates = {program.name: [] for program in programs}
            for _ in range(arguments.repeats):
                for program in programs:
                    rates[program.name].append(measure(program))
            print(f"{os.path.basename(arguments.model)}, {name}: " + ", ".join(
                f"{key} {statistics.median(found):.1f} ({min(found):.1f} to {max(found):.1f})"
                for key, found in rates.items()), flush=True)


if __name__ == "__main__":
    main()
