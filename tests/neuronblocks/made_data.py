"""Small files at the paths that a config of NeuronBlocks names, with the columns that it names."""

import random
import struct
from pathlib import Path
from typing import Any

WORDS = "red green blue cat dog bird runs sleeps eats house tree river small large anna peter".split()
CHINESE = "我爱你 好天气 电影 很好看 不好看 北京 上海 吃饭 老师 学生 喜欢 音乐".split()
NAMES = ("anna", "peter", "dog")
"""The words of the spans in tagging."""
ROWS = {"train": 90, "valid": 30, "test": 31, "predict": 12}


def make(config: dict[str, Any], folder: Path) -> None:
    """All files that the config names, below the folder."""
    inputs = config["inputs"]
    for number, (name, path) in enumerate(inputs["data_paths"].items()):
        if path is None or (folder / path).exists():
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if name == "pre_trained_emb":
            write_vectors(folder / path, inputs, config["architecture"][0]["conf"]["word"]["dim"])
            continue
        kind = name.removesuffix("_data_path")
        header = inputs["file_header"]
        if kind == "predict":
            header = inputs.get("predict_file_header") or header
        rows = [row(config, random.Random(f"{number} {at}"), kind) for at in range(ROWS[kind])]
        columns = sorted(header, key=header.get)
        lines = ["\t".join(columns)] * bool(inputs.get("file_with_col_header"))
        lines += ["\t".join(cells.get(column, "-") for column in columns) for cells in rows]
        (folder / path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def row(config: dict[str, Any], rng: random.Random, kind: str) -> dict[str, str]:
    """The cells of a row; what is asked can be told from the texts."""
    inputs, clusters = config["inputs"], config["architecture"][0]["conf"]
    is_chinese = config.get("language", "english").lower() == "chinese"
    cells = {}
    for column in clusters["word"]["cols"]:
        words = [rng.choice(CHINESE if is_chinese else WORDS) for _ in range(rng.randint(2, 9))]
        cells[column] = ("" if is_chinese else " ").join(words)
    for name, cluster in clusters.items():
        if name not in ("word", "char"):
            for column in cluster["cols"]:
                cells[column] = " ".join(str(len(word)) for word in words)
    if inputs["dataset_type"] == "mrc":
        place = rng.randrange(len(words))
        start = len(" ".join([*words[:place], ""]))
        found = {"start_label": str(start), "end_label": str(start + len(words[place])), "answer_text": words[place]}
        return {**cells, **found, "id": str(rng.random())}
    (target,) = inputs["target"]
    if inputs["dataset_type"] == "sequence_tagging":
        single = "S" if inputs["tagging_scheme"] == "BIOES" else "B"
        cells[target] = " ".join(f"{single}-NAME" if word in NAMES else "O" for word in words)
    elif inputs["dataset_type"] == "regression":
        share = sum(len(word) > 3 for word in words) / len(words)
        cells[target] = str(round(share)) if kind == "test" else f"{share:.3f}"
    else:
        weights = [loss["conf"].get("weight", "01") for loss in config["loss"]["losses"] if "conf" in loss]
        cells[target] = str(len(words) % len(weights[0]) if weights else len(words) % 2)
    return cells


def write_vectors(path: Path, inputs: dict[str, Any], dim: int) -> None:
    """Vectors of all words in the format that the config says."""
    rng, words = random.Random(0), [*WORDS, *CHINESE, "unseen"]
    table = {word: [rng.uniform(-1, 1) for _ in range(dim)] for word in words}
    head = f"{len(words)} {dim}\n"
    if inputs.get("pretrained_emb_binary_or_text") == "binary":
        packed = [word.encode() + b" " + struct.pack(f"<{dim}f", *numbers) + b"\n" for word, numbers in table.items()]
        path.write_bytes(head.encode() + b"".join(packed))
        return
    lines = [" ".join([word, *map(str, numbers)]) + "\n" for word, numbers in table.items()]
    path.write_text(head * (inputs.get("pretrained_emb_type") != "glove") + "".join(lines), encoding="utf-8")
