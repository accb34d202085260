"""A Hugging Face folder that pipe exported, written as the one file that llama.cpp loads (GGUF, f32).

Owns the shape, the tensors and the tokenizer of Llama models with the built-in world's word-level tokenizer. It knows no
other tokenizer: llama.cpp has a converter of its own for published models. Key and tensor names are those of the GGUF
specification and of llama.cpp's architecture `llama`.
"""

import json
import struct

import gguf
import numpy

# A space inside a token; llama.cpp replaces it in both directions (`▁`, as SentencePiece does).
SPACE = "\u2581"

PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


class Unfit(Exception):
    """The folder holds what this converter cannot express."""


def convert(folder, path):
    """Writes `path`. Raises `Unfit` for another architecture or tokenizer than the world's models have."""
    config = read(folder, "config.json")
    out = gguf.GGUFWriter(path, "llama")
    out.add_name(folder.name)
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    write_shape(out, config)
    ends = read(folder, "generation_config.json")["eos_token_id"]
    write_tokenizer(out, read(folder, "tokenizer.json"), ends[0] if isinstance(ends, list) else ends)
    out.add_chat_template(read(folder, "tokenizer_config.json")["chat_template"])
    for name, tensor in tensors(folder / "model.safetensors"):
        write_tensor(out, name, tensor, config)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def read(folder, name):
    return json.loads((folder / name).read_text())


def write_shape(out, config):
    wanted = {"model_type": "llama", "hidden_act": "silu", "rope_scaling": None, "attention_bias": False, "mlp_bias": False}
    for key, value in wanted.items():
        if config.get(key, value) != value:
            raise Unfit(f"config.json has {key} = {config[key]!r}; only {value!r} is converted")
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    out.add_vocab_size(config["vocab_size"])
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_block_count(config["num_hidden_layers"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_head_count(heads)
    out.add_head_count_kv(config.get("num_key_value_heads") or heads)
    out.add_key_length(head)
    out.add_value_length(head)
    out.add_rope_dimension_count(head)
    out.add_rope_freq_base(config["rope_theta"])
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])


def write_tokenizer(out, tokenizer, end):
    """The world's tokenizer as llama.cpp's unigram one (`t5`), every token with the same score.

    That one takes the segmentation with the highest sum of scores, so the one with the fewest tokens. A piece that the
    regex of tokenizer.json cuts out is one token, and no token crosses a cut: over the world's words both agree. Where a
    word is not in the vocabulary they do not: there the regex makes the whole word one `<unk>`, while this one still
    finds what it knows inside (a space at least) and joins neighbouring unknown ones.
    """
    model = tokenizer["model"]
    if model["type"] != "WordLevel" or tokenizer["normalizer"] or tokenizer["post_processor"]:
        raise Unfit("tokenizer.json is not the word-level tokenizer of the built-in world")
    ids = model["vocab"]
    if sorted(ids.values()) != list(range(len(ids))):
        raise Unfit("the ids of tokenizer.json are not 0, 1, 2, ...")
    tokens = sorted(ids, key=ids.get)
    special = {token["content"] for token in tokenizer["added_tokens"]}
    kinds = [kind_of(token, special, model["unk_token"]) for token in tokens]
    out.add_tokenizer_model("t5")
    out.add_tokenizer_pre("default")
    out.add_token_list([token.replace(" ", SPACE) for token in tokens])
    out.add_token_scores([-1.0] * len(tokens))
    out.add_token_types(kinds)
    out.add_unk_token_id(ids[model["unk_token"]])
    out.add_eos_token_id(end)
    # Nothing is added to a prompt, nothing is cleaned in it.
    out.add_add_bos_token(False)
    out.add_add_eos_token(False)
    out.add_add_space_prefix(False)
    out.add_remove_extra_whitespaces(False)


def kind_of(token, special, unknown):
    if token in special:
        return gguf.TokenType.CONTROL
    return gguf.TokenType.UNKNOWN if token == unknown else gguf.TokenType.NORMAL


def tensors(path):
    """The names and f32 values of a .safetensors file (its header: a length of 8 bytes, then JSON)."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    for name, about in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        if about["dtype"] != "F32":
            raise Unfit(f"{name} is {about['dtype']}; only F32 is converted")
        start, end = (8 + length + offset for offset in about["data_offsets"])
        yield name, numpy.frombuffer(data[start:end], dtype="<f4").reshape(about["shape"])


def write_tensor(out, name, tensor, config):
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name == "lm_head.weight" and config["tie_word_embeddings"]:
        return
    if name in fixed:
        out.add_tensor(fixed[name], tensor)
        return
    parts = name.split(".")
    layer, part = parts[2], ".".join(parts[3:-1])
    if parts[:2] != ["model", "layers"] or parts[-1] != "weight" or part not in PARTS:
        raise Unfit(f"llama.cpp's architecture `llama` has no place for {name}")
    if part in ("self_attn.q_proj", "self_attn.k_proj"):
        heads = config["num_attention_heads" if part == "self_attn.q_proj" else "num_key_value_heads"]
        tensor = interleave(tensor, heads)
    out.add_tensor(f"blk.{layer}.{PARTS[part]}.weight", tensor)


def interleave(tensor, heads):
    """Rows [head, half, i] as [head, i, half]: llama.cpp rotates neighbours, Hugging Face's Llama the two halves of a head."""
    rows, columns = tensor.shape
    halves = tensor.reshape(heads, 2, rows // heads // 2, columns)
    return numpy.ascontiguousarray(halves.transpose(0, 2, 1, 3)).reshape(rows, columns)
