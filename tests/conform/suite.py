"""The cases of the Autobahn test suite, from its published source, on the Python that runs this.

The suite is written for Python 2, where text is octets. Its source is read as Latin-1, so that a literal keeps its
octets one by one in text; whatever leaves or enters a case passes `octets`. What else Python 3 has changed is put right
in each module's syntax tree when it is imported; the cases themselves stay what they are.
"""

import ast
import binascii
import codecs
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
import types

PACKAGE = "autobahntestsuite"
CASES = 517
# Not run by the suite itself, and of a library interface that is gone.
UNUSED = "case9_9_1"


def octets(value):
    """Text of the suite as what it stands for; lists and tuples of it likewise, everything else as it is."""
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return [octets(item) for item in value]
    return value


def load(folder):
    """The case classes by their id, in the suite's order, from the unpacked source in `folder`."""
    sys.meta_path.insert(0, _Finder(folder))
    for name, stand_in in _stand_ins(folder).items():
        sys.modules[f"{PACKAGE}._{name}"] = stand_in
    module = importlib.import_module(f"{PACKAGE}.case")
    cases = {of.__name__.removeprefix(module.CaseBasename).replace("_", "."): of for of in module.Cases}
    if len(cases) != CASES:
        raise SystemExit(f"conform: the suite has {len(cases)} cases instead of {CASES}")
    base = importlib.import_module(f"{PACKAGE}.case.case").Case
    base.compare = lambda self, one, other: octets(one) == octets(other)
    return cases


class Utf8Validator:
    """Checks UTF-8 as it comes, with the answers of the library's own and none of its pace."""

    def __init__(self):
        self.reset()

    def reset(self):
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_valid = True
        self._seen = 0

    def validate(self, piece):
        """(valid so far, at the end of a character, octets of this piece, octets in all)"""
        piece = octets(piece)
        if self._is_valid:
            try:
                self._decoder.decode(piece)
            except UnicodeDecodeError:
                self._is_valid = False
        self._seen += len(piece)
        is_whole = self._is_valid and not self._decoder.getstate()[0]
        return self._is_valid, is_whole, len(piece), self._seen


def _stand_ins(folder):
    """Modules that the cases import, as Python 2 had them."""
    hexed = types.ModuleType("binascii")
    hexed.b2a_hex = hexed.hexlify = lambda data: binascii.hexlify(octets(data)).decode()
    resources = types.ModuleType("pkg_resources")
    resources.resource_filename = lambda package, name: os.path.join(folder, package, name)
    validators = types.ModuleType("utf8validator")
    validators.Utf8Validator = Utf8Validator
    return {"binascii": hexed, "pkg_resources": resources, "utf8validator": validators}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the suite's modules in its source; the package around them is left empty."""

    def __init__(self, folder):
        self.folder = folder

    def find_spec(self, name, path, target=None):
        if name == PACKAGE:
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [os.path.join(self.folder, PACKAGE)]
            return spec
        if not name.startswith(f"{PACKAGE}.case"):
            return None
        place = os.path.join(self.folder, *name.split("."))
        is_package = os.path.isdir(place)
        place = os.path.join(place, "__init__.py") if is_package else f"{place}.py"
        return importlib.util.spec_from_file_location(
            name, place, loader=_Loader(name, place), submodule_search_locations=[] if is_package else None
        )


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        with open(self.path, encoding="latin-1") as file:
            # Only the suite's tests of itself print, and they do not run.
            text = re.sub(r"(?m)^(\s*)print\b.*$", r"\1pass", file.read())
        tree = _Translator().visit(ast.parse(text, self.path))
        return compile(ast.fix_missing_locations(tree), self.path, "exec")


class _Translator(ast.NodeTransformer):
    """What Python 3 writes differently."""

    def visit_Import(self, node):
        kept = [name for name in node.names if name.name not in ("binascii", "pkg_resources")]
        stood_in = [name for name in node.names if name not in kept]
        own = [ast.ImportFrom(PACKAGE, [ast.alias(f"_{name.name}", name.name)], 0) for name in stood_in]
        return ([ast.Import(kept)] if kept else []) + own

    def visit_ImportFrom(self, node):
        if node.module == UNUSED:
            return None
        if node.module.startswith("case"):
            return ast.ImportFrom(node.module, node.names, 1)
        if node.module == "autobahn.websocket.utf8validator":
            return ast.ImportFrom(f"{PACKAGE}._utf8validator", node.names, 0)
        return node

    def visit_Name(self, node):
        """Renames what only has another name."""
        renamed = {"xrange": "range", "unichr": "chr"}.get(node.id, node.id)
        return ast.Name(renamed, node.ctx)

    def visit_Tuple(self, node):
        """(object, Case): a base of everything comes last by itself."""
        self.generic_visit(node)
        is_base = [isinstance(item, ast.Name) and item.id == "object" for item in node.elts]
        return ast.Tuple([item for item, dropped in zip(node.elts, is_base) if not dropped], node.ctx)

    def visit_BinOp(self, node):
        """Whole numbers divide to whole numbers."""
        self.generic_visit(node)
        return ast.BinOp(node.left, ast.FloorDiv() if isinstance(node.op, ast.Div) else node.op, node.right)
