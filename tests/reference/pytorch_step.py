#!/usr/bin/env python3
"""How fast PyTorch trains the models of configs/: the work of `trireme bench step`, by torch.compile with the attention
backend that turns out fastest, bf16 products beside fp32 weights, gradients clipped by their norm, fused AdamW.

    python3 tests/reference/pytorch_step.py --model gpt2_124m --sequence 1024 --micro-batch 32 --json step.json

Needs torch alone. launch/gpu_check.sh runs it where there is one, on the same GPU as Trireme.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

MODELS = {
    "gpt2_124m": {"llama": False, "width": 768, "ffn": 3072, "layers": 12, "heads": 12, "key_heads": 12, "vocabulary": 50257},
    "llama_1b": {"llama": True, "width": 2048, "ffn": 8192, "layers": 16, "heads": 32, "key_heads": 8, "vocabulary": 128256},
    # For trying this script where there is no GPU.
    "tiny": {"llama": True, "width": 64, "ffn": 96, "layers": 2, "heads": 4, "key_heads": 2, "vocabulary": 101},
    "tiny_gpt2": {"llama": False, "width": 64, "ffn": 96, "layers": 2, "heads": 4, "key_heads": 4, "vocabulary": 101},
}
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION, "math": SDPBackend.MATH}


def rotate(x, cos, sin):
    """Rotary embedding of heads [batch, heads, sequence, size]; cos and sin are [sequence, size / 2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Block(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.heads, self.key_heads, self.llama = m["heads"], m["key_heads"], m["llama"]
        self.size = m["width"] // m["heads"]
        norm = nn.RMSNorm if self.llama else nn.LayerNorm
        self.norms = nn.ModuleList(norm(m["width"], eps=1e-5) for _ in range(2))
        bias = not self.llama
        self.qkv = nn.Linear(m["width"], (self.heads + 2 * self.key_heads) * self.size, bias=bias)
        self.out = nn.Linear(m["width"], m["width"], bias=bias)
        self.up = nn.Linear(m["width"], m["ffn"] * (2 if self.llama else 1), bias=bias)
        self.down = nn.Linear(m["ffn"], m["width"], bias=bias)

    def forward(self, x, angles):
        batch, sequence, width = x.shape
        sizes = [n * self.size for n in (self.heads, self.key_heads, self.key_heads)]
        q, k, v = (
            part.view(batch, sequence, -1, self.size).transpose(1, 2)
            for part in self.qkv(self.norms[0](x)).split(sizes, dim=-1)
        )
        if self.llama:
            q, k = rotate(q, *angles), rotate(k, *angles)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.key_heads)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, sequence, width))
        up = self.up(self.norms[1](x))
        if self.llama:
            gate, up = up.chunk(2, dim=-1)
            up = F.silu(gate) * up
        else:
            up = F.gelu(up, approximate="tanh")
        return x + self.down(up)


class Model(nn.Module):
    def __init__(self, m, sequence):
        super().__init__()
        self.embedding = nn.Embedding(m["vocabulary"], m["width"])
        self.positions = None if m["llama"] else nn.Embedding(sequence, m["width"])
        self.blocks = nn.ModuleList(Block(m) for _ in range(m["layers"]))
        self.norm = (nn.RMSNorm if m["llama"] else nn.LayerNorm)(m["width"], eps=1e-5)
        half = m["width"] // m["heads"] // 2
        turns = torch.outer(torch.arange(sequence), 500000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", turns.cos().bfloat16())
        self.register_buffer("sin", turns.sin().bfloat16())
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids, targets):
        x = self.embedding(ids)
        if self.positions is not None:
            x = x + self.positions.weight
        for block in self.blocks:
            x = block(x, (self.cos, self.sin))
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def measure(options, backend, steps):
    """Seconds of each step after warming up, and the last loss."""
    device = torch.device(options.device)
    torch.manual_seed(1)
    torch._dynamo.reset()
    m = MODELS[options.model]
    model = Model(m, options.sequence).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    compiled = torch.compile(model)
    ids = torch.randint(m["vocabulary"], (options.micro_batch, options.sequence + 1), device=device)

    def synchronize():
        if device.type == "cuda":
            torch.cuda.synchronize()

    seconds = []
    for step in range(5 + steps):
        synchronize()
        begin = time.perf_counter()
        with torch.autocast(device.type, dtype=torch.bfloat16), sdpa_kernel(backend):
            loss = compiled(ids[:, :-1], ids[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        synchronize()
        if step >= 5:
            seconds.append(time.perf_counter() - begin)
    return seconds, loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--sequence", type=int, required=True)
    parser.add_argument("--micro-batch", type=int, required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", required=True)
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high")

    best = None
    for name in ("flash", "cudnn") if options.device == "cuda" else ("math",):
        try:
            seconds, loss = measure(options, BACKENDS[name], options.steps)
        except RuntimeError as error:
            print(f"{name}: {str(error).splitlines()[0]}", flush=True)
            continue
        median = statistics.median(seconds)
        print(f"{name}: {median * 1e3:.2f} ms a step, loss {loss:.4f}", flush=True)
        if best is None or median < best[0]:
            best = (median, name, loss)
        # Written at once: what comes later may run out of time.
        report = {
            "tokens_per_second": options.micro_batch * options.sequence / best[0],
            "step_seconds": best[0],
            "attention": best[1],
            "loss": best[2],
            "torch": torch.__version__,
        }
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
            file.write("\n")
    if best is None:
        raise SystemExit("no attention backend of PyTorch works here")
    print(f"{report['tokens_per_second']:.0f} tokens a second, {best[1]} attention, torch {torch.__version__}")


if __name__ == "__main__":
    main()
