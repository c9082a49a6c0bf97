"""Reads a torch.export archive (.pt2) as hostile input and rewrites it with nothing in it that could be executed.

PyTorch's own loader unpickles parts of an archive, evaluates expressions and names in it as Python, and loads native
libraries from it. Here only plain weights and a graph of operators of ATen and of PT2E quantization pass, every string in it a mere name.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.files import check_archive

MAX_BYTES = 2**31
MAX_MEMBERS = 100_000
MAX_GRAPH = 2**24  # bytes of the graph's JSON
FIX = "save it with torch.export.save(torch.export.export(module.eval(), inputs), 'model.pt2')"
DAMAGED = "the file is damaged, or was not made by torch.export.save"

KEPT = re.compile(
    r"(models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|archive_format|archive_version|byteorder|\.data/(version|serialization_id))"
)
DROPPED = re.compile(r"(data/sample_inputs/model\.pt|extra/.*)")
NAME = re.compile(r"[\w.\-+,> /]*", re.ASCII)  # cannot spell a call, a string or a second statement
SPEC = re.compile(r"[\w.\-+,> /\[\]{}:\"]*", re.ASCII)
TARGET = re.compile(
    r"torch\.ops\.((aten|prims)\.\w+|quantized_decomposed\.(de)?quantize_per_(tensor|channel))\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|mod|neg)", re.ASCII,
)  # fmt: skip
ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}  # torch.export's numbers of element types


def screened(path: Path) -> bytes:
    """The archive's bytes, rewritten.

    Raises:
        EdgeqError: it is no torch.export archive, or holds pickles, native code or strings that are no names.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, str(path))
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as e:
        raise EdgeqError("not a readable torch.export archive", where=str(path), why=str(e)[:120], fix=FIX) from e
    where = str(path)
    model = _json(members, "models/model.json", where)
    _check_model(model, where)
    members["models/model.json"] = json.dumps(model).encode()
    for folder, config in (("weights", "model_weights_config.json"), ("constants", "model_constants_config.json")):
        _check_payloads(_json(members, f"data/{folder}/{config}", where), members, folder, where)
    members["data/sample_inputs/model.pt"] = b""
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"model/{name}"), data)
    return result.getvalue()


def _members(archive: zipfile.ZipFile, where: str) -> dict[str, bytes]:
    """The members that matter, without the archive's own folder in their names."""
    check_archive(archive, Path(where))
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS or sum(i.file_size for i in infos) > MAX_BYTES:
        raise EdgeqError("the archive is too large", where=where, why=f"at most {MAX_BYTES} bytes are read")
    names = [i.filename.partition("/")[2] for i in infos]
    if any(i.file_size > MAX_GRAPH for i, name in zip(infos, names, strict=True) if name.endswith(".json")):
        raise EdgeqError("the archive's graph is too large", where=where, why=f"at most {MAX_GRAPH} bytes are read")
    if "data.pkl" in names or "constants.pkl" in names:
        why = "it holds pickled Python objects, which may execute anything"
        raise EdgeqError("this is a torch.save or TorchScript file, not a torch.export archive", where=where, why=why, fix=FIX)
    if "models/model.json" not in names:
        raise EdgeqError("not a torch.export archive", where=where, why="it holds no models/model.json", fix=FIX)
    result: dict[str, bytes] = {}
    for info, name in zip(infos, names, strict=True):
        if KEPT.fullmatch(name) and name not in result:
            result[name] = archive.read(info)
        elif not DROPPED.fullmatch(name):
            why = f"member '{name[:60]!a}' is no plain weight"
            raise EdgeqError("the archive holds more than a graph and its weights", where=where, why=why, fix=FIX)
    return result


def _json(members: dict[str, bytes], name: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(members[name])
    except (KeyError, ValueError, RecursionError) as e:
        raise EdgeqError(f"{name} cannot be read", where=where, why=DAMAGED, fix=FIX) from e
    if not isinstance(value, dict):
        raise EdgeqError(f"{name} cannot be read", where=where, why=DAMAGED, fix=FIX)
    return value


def _check_model(model: dict[str, Any], where: str) -> None:
    """Blank what is not needed, refuse whatever else is no mere name."""
    try:
        model["guards_code"] = []
        module = model["graph_module"]
        module["metadata"] = {}
        module["module_call_graph"] = module["module_call_graph"][:1]
        module["treespec_namedtuple_fields"] = {}
        graph = module["graph"]
        if graph.get("custom_obj_values"):
            raise EdgeqError("models with custom objects are not supported", where=where)
        for node in graph["nodes"]:
            node["metadata"] = {}
            target = node["target"]
            if not isinstance(target, str) or not TARGET.fullmatch(target) or "file" in target:
                raise EdgeqError(
                    f"operator {str(target)[:80]!a} is not supported", where=where, why="only ATen's and quantization's are", fix=FIX
                )
        _check_strings(model, where, 0)
    except (KeyError, TypeError, AttributeError, IndexError) as e:
        raise EdgeqError("the graph cannot be read", where=where, why=DAMAGED, fix=FIX) from e


def _check_strings(value: Any, where: str, depth: int, pattern: re.Pattern[str] = NAME) -> None:
    if depth > 100:
        raise EdgeqError("the graph nests too deeply", where=where, why=DAMAGED)
    if isinstance(value, str) and not pattern.fullmatch(value):
        raise EdgeqError(f"the string {value[:60]!a} in the graph is no name", where=where, why=DAMAGED, fix=FIX)
    if isinstance(value, list):
        for item in value:
            _check_strings(item, where, depth + 1, pattern)
    if isinstance(value, dict):
        for key, item in value.items():
            _check_strings(key, where, depth + 1)
            _check_strings(item, where, depth + 1, SPEC if key in ("in_spec", "out_spec") else pattern)


def _check_payloads(config: dict[str, Any], members: dict[str, bytes], folder: str, where: str) -> None:
    """Every weight must be plain bytes, as many as its shape and strides reach."""
    try:
        entries = config["config"].items()
        _check_strings(config, where, 0)
        for name, entry in entries:
            if entry["use_pickle"] is not False:
                raise EdgeqError(f"weight '{name}' is pickled", where=where, why="unpickling may execute anything", fix=FIX)
            meta, data = entry["tensor_meta"], members[f"data/{folder}/{entry['path_name']}"]
            sizes, strides = ([int(n["as_int"]) for n in meta[k]] for k in ("sizes", "strides"))
            start = int(meta["storage_offset"]["as_int"])
            reach = start + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True)) + 1
            if min((*sizes, *strides, start)) < 0 or math.prod(sizes) > MAX_BYTES or meta["device"]["type"] != "cpu":
                raise EdgeqError(f"weight '{name}' has an impossible shape", where=where, why=DAMAGED)
            if math.prod(sizes) and reach * ITEM_BYTES[meta["dtype"]] > len(data):
                raise EdgeqError(f"weight '{name}' is larger than its data", where=where, why=DAMAGED)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as e:
        raise EdgeqError("the weights cannot be read", where=where, why=DAMAGED, fix=FIX) from e
