#!/usr/bin/env python3
"""The independent reference: what PyTorch and Hugging Face's transformers make of Trireme's own weights.

How to run it, from the repository's root, with the target parity_weights built (no test runs this file):

    python3 -m venv reference && reference/bin/pip install torch transformers
    reference/bin/python tests/reference/pytorch_reference.py --weights build/tests/parity_weights

Writes tests/goldens/parity_<case>.txt for tests/parity_test.cc: for each case the settings, the losses and gradient
norms of 20 AdamW steps in double, fp32 and bf16, and every parameter's gradient at the first and at the last step.

On the way it shows that transformers reads Trireme's checkpoints: the model of each case is loaded by from_pretrained
from the safetensors file that Trireme wrote, with no name missing, none left over and none of another shape.
    --check DIR   does only that, for a checkpoint of `trireme train`, whose run.textproto stands beside checkpoints/,
                  and prints the likeliest continuation of a prompt, to lay beside that of `trireme generate`.
"""

import argparse
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest.mock

import torch
import transformers
import transformers.utils.logging
from transformers.models.bloom import modeling_bloom
from transformers.models.llama import modeling_llama
from transformers.models.mixtral import modeling_mixtral

STEPS = 20
BATCH = {"train.sequence_length": 11, "train.global_batch": 3, "train.seed": 1}
OPTIMIZER = {
    "optimizer.learning_rate": 5e-4,
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.95,
    "optimizer.epsilon": 1e-5,
    "optimizer.weight_decay": 0.1,
}


def case(architecture, hidden, intermediate, layers, heads, key_value_heads, tied, clip_norm):
    """A model at odd sizes: what it replaces in the recipe configs/tiny_<architecture>.textproto."""
    settings = {
        "model.hidden_size": hidden,
        "model.intermediate_size": intermediate,
        "model.num_hidden_layers": layers,
        "model.num_attention_heads": heads,
        "model.num_key_value_heads": key_value_heads,
        "model.vocab_size": 37,
        "model.max_position_embeddings": 13,
        "model.tie_word_embeddings": tied,
        **BATCH,
        **OPTIMIZER,
        "optimizer.clip_norm": clip_norm,
    }
    if architecture in ROTARY:
        settings["model.rope_theta"] = 500
        settings["model.rms_norm_eps"] = 1e-5
    else:
        settings["model.layer_norm_eps"] = 1e-5
    return architecture, settings


# The architectures with RMSNorm and rotary positions, and where transformers has them.
ROTARY = {"llama": modeling_llama, "mixtral": modeling_mixtral}
# Those whose code rounds to float32 on the way.
ROUNDING = {**ROTARY, "bloom": modeling_bloom}
EXPERTS = {
    "model.num_local_experts": 5,
    "model.num_experts_per_tok": 2,
    "model.router_aux_loss_coef": 0.3,
    "model.router_z_loss_coef": 0.05,
}


def mixture(*sizes):
    architecture, settings = case("mixtral", *sizes)
    return architecture, {**settings, **EXPERTS}


# With clip_norm 0.1 every step is clipped, with 0 none.
CASES = {
    "gpt2": case("gpt2", 12, 27, 2, 3, 3, True, 0.1),
    "gpt2_untied": case("gpt2", 10, 22, 3, 5, 5, False, 0),
    "llama": case("llama", 16, 14, 2, 4, 2, False, 0.1),
    "llama_tied": case("llama", 12, 20, 3, 3, 1, True, 0),
    "mixtral": mixture(12, 6, 2, 6, 2, False, 0.1),
    # Six heads: the slopes of four, and two of eight.
    "bloom": case("bloom", 12, 48, 2, 6, 6, True, 0.1),
}


# --- what both sides make from a formula -----------------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10 (Salmon et al., SC 2011): four 32-bit words."""
    mask = 0xFFFFFFFF
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & mask, (p0 >> 32) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


def token(sample, position, vocabulary):
    """The made-up text of tests/mesh_run.cc: every third token is random, the others depend on their position."""
    name = 0xCBF29CE484222325
    for byte in b"data":
        name = ((name ^ byte) * 0x100000001B3) % 2**64
    key = (7 * 0x9E3779B97F4A7C15) % 2**64 ^ name
    words = philox([sample, 0, position, 0], [key & 0xFFFFFFFF, key >> 32])
    return words[1] % vocabulary if words[0] % 3 == 0 else position * 7 % vocabulary


def batch(step, settings):
    """Inputs and labels of step `step`, counted from 0."""
    sequences, length = settings["train.global_batch"], settings["train.sequence_length"]
    rows = [
        [token(step * sequences + i, t, settings["model.vocab_size"]) for t in range(length + 1)]
        for i in range(sequences)
    ]
    tokens = torch.tensor(rows)
    return tokens[:, :-1], tokens[:, 1:]


# --- transformers' models --------------------------------------------------------------------------------------------


def hugging_face_config(architecture, model):
    """config.json of a Trireme model, from its fields."""
    if architecture == "gpt2":
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "n_embd": model["hidden_size"],
            "n_inner": model["intermediate_size"],
            "n_layer": model["num_hidden_layers"],
            "n_head": model["num_attention_heads"],
            "vocab_size": model["vocab_size"],
            "n_positions": model["max_position_embeddings"],
            "layer_norm_epsilon": model["layer_norm_eps"],
            "tie_word_embeddings": model["tie_word_embeddings"],
            "activation_function": "gelu_new",
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        }
    if architecture == "bloom":
        return {
            "model_type": "bloom",
            "architectures": ["BloomForCausalLM"],
            "hidden_size": model["hidden_size"],
            "n_layer": model["num_hidden_layers"],
            "n_head": model["num_attention_heads"],
            "vocab_size": model["vocab_size"],
            "layer_norm_epsilon": model["layer_norm_eps"],
            "tie_word_embeddings": model["tie_word_embeddings"],
            "apply_residual_connection_post_layernorm": False,
            "hidden_dropout": 0.0,
            "attention_dropout": 0.0,
        }
    names = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"]
    names += ["vocab_size", "max_position_embeddings", "rope_theta", "rms_norm_eps", "tie_word_embeddings"]
    class_name = {"llama": "LlamaForCausalLM", "mixtral": "MixtralForCausalLM"}[architecture]
    if architecture == "mixtral":
        names += ["num_local_experts", "num_experts_per_tok"]
    return {"model_type": architecture, "architectures": [class_name], **{name: model[name] for name in names}}


def load(checkpoint, config):
    """The checkpoint as transformers loads it: every tensor of the file is used, and none is made up."""
    # The grouped products of torch take only sizes that 16 bytes divide.
    experts = {"experts_implementation": "eager"} if config["model_type"] == "mixtral" else {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "config.json").write_text(json.dumps(config))
        shutil.copy(checkpoint / "w00000.safetensors", folder / "model.safetensors")
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True, **experts
        )
    for kind in ["missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"]:
        assert not report.get(kind), f"{checkpoint}: {kind}: {report[kind]}"
    return model


def on_disk(tensors):
    """Tensors by the names of a checkpoint: transformers stacks Mixtral's experts in memory."""
    for name, tensor in tensors:
        if ".mlp.experts." in name:
            prefix = name.split(".mlp.experts.")[0] + ".block_sparse_moe.experts"
            for e, expert in enumerate(tensor):
                parts = {"w2": expert} if name.endswith("down_proj") else dict(zip(["w1", "w3"], expert.chunk(2)))
                yield from ((f"{prefix}.{e}.{part}.weight", matrix) for part, matrix in parts.items())
        else:
            yield name.replace(".mlp.gate.", ".block_sparse_moe.gate."), tensor


class DoubleForFloat32:
    """The torch module for code that rounds to float32 on the way: it keeps double."""

    def __getattr__(self, name):
        return getattr(torch, "float64" if name == "float32" else name)


class DoubleRotary(torch.nn.Module):
    """LLaMA's rotary angles in double: transformers computes them in float32 whatever the model's dtype."""

    def __init__(self, theta, head_size):
        super().__init__()
        self.frequencies = theta ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)

    def forward(self, x, position_ids):
        angles = position_ids[..., None].double() * self.frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


@contextlib.contextmanager
def in_double(model, config):
    """The model in double throughout. What it says must be what it said in float32, but for rounding."""
    probe = torch.arange(11)[None]
    with torch.no_grad():
        before = model(probe).logits
    rounding = ROUNDING.get(config["model_type"])
    with contextlib.ExitStack() as patches:
        if rounding:
            patches.enter_context(unittest.mock.patch.object(rounding, "torch", DoubleForFloat32()))
            patches.enter_context(unittest.mock.patch.object(torch.Tensor, "float", torch.Tensor.double))
        model = model.double()
        if config["model_type"] == "bloom":
            # Its own GELU has sqrt(2 / pi) in eight digits.
            for block in model.transformer.h:
                block.mlp.gelu_impl = torch.nn.GELU(approximate="tanh")
        if config["model_type"] in ROTARY:
            head_size = config["hidden_size"] // config["num_attention_heads"]
            model.model.rotary_emb = DoubleRotary(config["rope_theta"], head_size)
        with torch.no_grad():
            after = model(probe).logits
        assert (after - before).norm() < 1e-6 * before.norm(), "double changed the model"
        yield model


# --- training --------------------------------------------------------------------------------------------------------


def mean_loss(model, inputs, labels, settings):
    """The loss that is reported, and what is added to it: the router's losses, the mean over sequences and blocks."""
    experts, auxiliary = settings.get("model.num_local_experts"), 0
    if not experts:
        logits = model(inputs).logits
    else:
        found = model(inputs, output_router_logits=True)
        logits = found.logits
        for block in found.router_logits:
            sequences = block.view(*inputs.shape, experts)
            balance = sum(
                modeling_mixtral.load_balancing_loss_func((s,), experts, settings["model.num_experts_per_tok"])
                for s in sequences
            )
            auxiliary += settings["model.router_aux_loss_coef"] * balance / len(sequences)
            auxiliary += settings["model.router_z_loss_coef"] * block.logsumexp(-1).square().mean()
        auxiliary /= len(found.router_logits)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()), auxiliary


def train(model, settings, autocast=False):
    """Losses, gradient norms, and the gradients of the first and the last step."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    decay = settings["optimizer.weight_decay"]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=settings["optimizer.learning_rate"],
        betas=(settings["optimizer.beta1"], settings["optimizer.beta2"]),
        eps=settings["optimizer.epsilon"],
    )
    losses, norms, gradients = [], [], {}
    for step in range(STEPS):
        inputs, labels = batch(step, settings)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss, auxiliary = mean_loss(model, inputs, labels, settings)
        optimizer.zero_grad()
        (loss + auxiliary).backward()
        if step in (0, STEPS - 1):
            gradients[step + 1] = dict(
                on_disk((name, p.grad.clone()) for name, p in model.named_parameters())
            )
        clip_norm = settings["optimizer.clip_norm"] or float("inf")
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm).item())
        losses.append(loss.item())
        optimizer.step()
    return losses, norms, gradients


# --- goldens ---------------------------------------------------------------------------------------------------------

HEADER = """\
# What PyTorch {torch} and transformers {transformers} make of this model; read by tests/parity_test.cc.
# Made by tests/reference/pytorch_reference.py, which says how. The weights are those that Trireme itself draws from the
# seed (ParameterStore::Initialize), and the tokens those of tests/mesh_run.cc: make this file anew if either changes.
"""


def text_of(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def golden_text(architecture, settings, initial, runs):
    lines = [f"recipe tiny_{architecture}.textproto"]
    lines += [f"set {name}={text_of(value)}" for name, value in settings.items()]
    for dtype, (losses, norms, _) in runs.items():
        lines.append(f"losses {dtype} " + " ".join(map(float.hex, losses)))
        lines.append(f"norms {dtype} " + " ".join(map(float.hex, norms)))
    lines += [f"initial {name} {float.hex(norm)}" for name, norm in initial.items()]
    for step, gradients in runs["fp64"][2].items():
        for name, gradient in gradients.items():
            lines.append(f"gradient {step} {name} " + " ".join(map(str, gradient.shape)))
            rows = gradient if gradient.dim() == 2 else [gradient]
            lines += [" ".join(f"{x:.11g}" for x in row.tolist()) for row in rows]
    header = HEADER.format(torch=torch.__version__, transformers=transformers.__version__)
    return header + "\n".join(lines) + "\n"


def make_golden(name, weights_program):
    architecture, settings = CASES[name]
    fields = {key.split(".")[1]: value for key, value in settings.items() if key.startswith("model.")}
    config = hugging_face_config(architecture, fields)
    with tempfile.TemporaryDirectory() as run:
        overrides = [f"{key}={text_of(value)}" for key, value in settings.items()]
        command = [weights_program, run, f"tiny_{architecture}.textproto", *overrides]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        checkpoint = pathlib.Path(printed.strip())
        models = [load(checkpoint, config) for _ in range(3)]
    tensors = on_disk((name, p.detach()) for name, p in models[0].named_parameters())
    initial = {name: tensor.double().norm().item() for name, tensor in tensors}
    runs = {"fp32": train(models[0], settings), "bf16": train(models[1], settings, autocast=True)}
    with in_double(models[2], config) as model:
        runs["fp64"] = train(model, settings)
    path = pathlib.Path(f"tests/goldens/parity_{name}.txt")
    path.write_text(golden_text(architecture, settings, initial, runs))
    print(f"{path}: loss {runs['fp64'][0][0]:.6f} -> {runs['fp64'][0][-1]:.6f}; from it, relatively: " + ", ".join(
        f"{dtype} {max(abs(a / b - 1) for a, b in zip(runs[dtype][0], runs['fp64'][0])):.1e}"
        for dtype in ("fp32", "bf16")
    ))


# --- a checkpoint of `trireme train` ---------------------------------------------------------------------------------


def check(checkpoint, prompt, num_tokens):
    """Loads it as transformers does, and continues the prompt, byte by byte, with the likeliest token."""
    checkpoint = pathlib.Path(checkpoint)
    text = (checkpoint.parent.parent / "run.textproto").read_text()
    block = re.search(r"^model \{\n(.*?)^\}", text, re.S | re.M).group(1)
    fields = {name: json.loads(value) for name, value in re.findall(r"(\w+): (\S+)", block)}
    model = load(checkpoint, hugging_face_config(fields["architecture"], fields))
    num_parameters = sum(p.numel() for p in model.parameters())
    print(f"{checkpoint}: {fields['architecture']}, {num_parameters} parameters, every name and shape matches")
    tokens = list(prompt.encode())
    window = int(re.search(r"sequence_length: (\d+)", text).group(1))
    with torch.no_grad():
        for _ in range(num_tokens):
            logits = model(torch.tensor([tokens[-window:]])).logits[0, -1]
            tokens.append(int(logits.argmax()))
    continuation = b"".join(b"\n" if t == 256 else bytes([t]) for t in tokens)
    print(continuation.decode(errors="replace"))
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", metavar="PROGRAM", help="parity_weights, to make the goldens")
    parser.add_argument("--case", action="append", choices=list(CASES), help="only this golden; may be repeated")
    parser.add_argument("--check", metavar="DIR", help="a checkpoint, of one rank")
    parser.add_argument("--prompt", default="the ")
    parser.add_argument("--tokens", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if arguments.check:
        check(arguments.check, arguments.prompt, arguments.tokens)
    if arguments.weights:
        for name in arguments.case or CASES:
            make_golden(name, arguments.weights)


if __name__ == "__main__":
    main()
