"""Trains the model through the stages of a plan, on any number of GPUs of one machine.

    torchrun --nproc-per-node 4 train.py --data DATA --plan plan.json --output RUN [--from-stage N]

Each stage ends with RUN/stageN.pt (weights and optimiser), from which --from-stage N + 1 goes on.
Without a GPU it runs on the processor, in one process, for tests at toy sizes.
"""

import argparse
import json
import os
import pathlib
import time

import torch
import torch.distributed as dist

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the data processes are the parallelism

from data import ANSWER, COPY, TEXT, MicroBatches
from model import CONFIGURATION, Llama
from muon import Muon

WEIGHTS = {TEXT: 1.0, ANSWER: 1.0, COPY: 0.75}


class Run:
    def __init__(self, options):
        self.options = options
        self.plan = json.loads(pathlib.Path(options.plan).read_text())
        self.output = pathlib.Path(options.output)
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.cuda = torch.cuda.is_available()
        self.device = torch.device(f"cuda:{self.rank}" if self.cuda else "cpu")
        if self.cuda:
            torch.cuda.set_device(self.device)
        if self.world > 1:
            dist.init_process_group("nccl" if self.cuda else "gloo")
        torch.manual_seed(self.plan["seed"])
        torch.set_float32_matmul_precision("high")
        self.model = Llama(CONFIGURATION | self.plan.get("configuration", {})).to(self.device)
        named = list(self.model.named_parameters())
        self.parameters = [parameter for _, parameter in named]
        matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
        others = [p for name, p in named if p.ndim != 2 or "embed" in name]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(
            others, lr=0.0, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=self.cuda)
        self.output.mkdir(parents=True, exist_ok=True)
        self.log(f"{sum(p.numel() for p in self.parameters) / 1e6:.2f} M parameters, {self.world} ranks")

    def log(self, line):
        if self.rank == 0:
            print(line, flush=True)
            with open(self.output / "log.txt", "a") as file:
                file.write(line + "\n")

    def save(self, path):
        if self.rank == 0:
            torch.save({
                "model": self.model.state_dict(), "muon": self.muon.buffers,
                "adam": self.adam.state_dict(), "configuration": self.model.configuration,
            }, path)

    def load(self, path):
        state = torch.load(path, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.muon.buffers.update(state["muon"])
        self.adam.load_state_dict(state["adam"])

    def loader(self, stage_number, stage, length, batch, workers, salt):
        seed = ((self.plan["seed"] * 10 + stage_number) * 64 + self.rank) * 16 + salt
        return iter(torch.utils.data.DataLoader(
            MicroBatches(
                self.options.data, length, batch, stage["synthetic"], stage["stretch"],
                self.model.configuration["max_position_embeddings"], seed),
            batch_size=None, num_workers=workers, pin_memory=self.cuda,
            prefetch_factor=3 if workers else None))

    def reduce_gradients(self):
        if self.world == 1:
            return
        gradients = [p.grad for p in self.parameters]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        parts = flat.split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients)])

    def micro_step(self, batch, figures):
        ids, targets, classes, positions = (t.to(self.device, non_blocking=True) for t in batch)
        losses = self.model.losses(ids.long(), targets.long(), positions)
        classes, total = classes.flatten(), 0.0
        for number, kind in enumerate(WEIGHTS):
            mask = (classes == kind).float()
            mean = (losses * mask).sum() / mask.sum().clamp(min=1)
            total = total + WEIGHTS[kind] * mean
            figures[number] += torch.stack([mean.detach(), (mask.sum() > 0).float()])
        total.backward()

    def stage(self, number, stage):
        """Runs for stage["seconds"], or for stage["steps"] where that is given."""
        mixed = stage.get("mixed", [])
        main = self.loader(number, stage, *stage["main"], self.options.workers, 0)
        side_workers = max(1, self.options.workers // 5) if self.options.workers else 0
        sides = [self.loader(number, stage, *m, side_workers, 1 + i) for i, m in enumerate(mixed)]
        figures = torch.zeros(len(mixed) + 1, len(WEIGHTS), 2, device=self.device)
        step, tokens, progress, start, warm = 0, 0, 0.0, time.time(), stage.get("warm_up", 20)
        while progress < 1:
            fade = min(1.0, max(0.0, (1 - progress) / max(1e-9, stage["decay"])))
            scale = (stage["end"] + (1 - stage["end"]) * fade) * min(1.0, (step + 1) / warm)
            self.micro_step(next(main), figures[0])
            tokens += stage["main"][0] * stage["main"][1] * self.world
            if mixed:
                choice = step % len(mixed)
                self.micro_step(next(sides[choice]), figures[1 + choice])
                tokens += mixed[choice][0] * mixed[choice][1] * self.world
            self.reduce_gradients()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.muon.momentum = min(0.95, 0.85 + step / 2000) if number == 0 else 0.95
            self.muon.step(stage["muon"] * scale)
            for group in self.adam.param_groups:
                group["lr"] = stage["adam"] * scale
            self.adam.step()
            for parameter in self.parameters:
                parameter.grad = None
            step += 1
            if "steps" in stage:
                progress = step / stage["steps"]
            elif step % 8 == 0:  # the first rank's clock decides for all
                now = torch.tensor([(time.time() - start) / stage["seconds"]], device=self.device)
                if self.world > 1:
                    dist.broadcast(now, 0)
                progress = now.item()
            if step % stage.get("log", 50) == 0:
                self.report(number, step, tokens, start, scale, figures, [stage["main"], *mixed])
                figures.zero_()
        self.log(f"stage {number}: {step} steps, {tokens / 1e6:.0f} M tokens, {time.time() - start:.0f} s")
        self.save(self.output / f"stage{number}.pt")

    def report(self, number, step, tokens, start, scale, figures, shapes):
        """Mean losses of the first rank: text / answers / copies, for each length."""
        elapsed = time.time() - start
        parts = []
        for (length, _), rows in zip(shapes, figures.tolist()):
            means = [f"{total / count:.3f}" if count else "-" for total, count in rows]
            parts.append(f"{length}: " + "/".join(means))
        self.log(
            f"stage {number} step {step} {elapsed:.0f} s {tokens / elapsed / 1e6:.2f} Mtok/s "
            f"rate {scale:.2f} | " + " | ".join(parts))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--plan", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--from-stage", type=int, default=0)
    parser.add_argument("--workers", type=int, default=12, help="data processes for each GPU")
    options = parser.parse_args()
    run = Run(options)
    if options.from_stage:
        run.load(run.output / f"stage{options.from_stage - 1}.pt")
    for number, stage in enumerate(run.plan["stages"]):
        if number >= options.from_stage:
            run.stage(number, stage)
    if run.world > 1:
        dist.barrier()
    os._exit(0)  # the data processes go with it


if __name__ == "__main__":
    main()
