"""Muon: momentum whose matrix updates are orthogonalised (K. Jordan, 2024)."""

import torch

from model import compiled


@compiled
def orthogonalize(batch):
    """Newton-Schulz iteration on a batch of matrices: singular values go to about 1."""
    x = batch.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


class Muon:
    def __init__(self, parameters, momentum=0.95):
        self.momentum, self.groups = momentum, {}
        for parameter in parameters:
            self.groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self.buffers = {
            shape: torch.zeros(len(group), *shape, device=group[0].device)
            for shape, group in self.groups.items()}

    @torch.no_grad()
    def step(self, rate):
        for shape, group in self.groups.items():
            gradient = torch.stack([parameter.grad for parameter in group])
            buffer = self.buffers[shape].lerp_(gradient, 1 - self.momentum)
            update = orthogonalize(gradient.lerp(buffer, self.momentum)).float()
            scale = rate * max(1, shape[0] / shape[1]) ** 0.5
            torch._foreach_add_(group, list(update.unbind()), alpha=-scale)
