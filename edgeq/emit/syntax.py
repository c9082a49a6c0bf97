"""C as text: identifiers and comments that no name from a model can break, literals and constant tables."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from typing import Any

from edgeq.text import unused

# What a name from a model must not be, whatever compiles the public header: keywords of C up to C23 and of C++ up to C++23,
KEYWORDS = frozenset(
    "alignas alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept auto bitand bitor bool break case catch char char8_t "
    "char16_t char32_t class co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype "
    "default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable "
    "namespace new noexcept not not_eq nullptr operator or or_eq private protected public reflexpr register reinterpret_cast requires "
    "restrict return short signed sizeof static static_assert static_cast struct switch synchronized template this thread_local throw "
    "true try typedef typeid typename typeof typeof_unqual union unsigned using virtual void volatile wchar_t while xor xor_eq".split()
)
# macros of lower case that compilers, their C libraries and platforms define,
MACROS = frozenset(
    "unix linux arm i386 mips sparc sun vax hpux sgi m68k pic avr pascal cdecl near far huge interface small complex imaginary noreturn "
    "errno stdin stdout stderr environ assert offsetof math_errhandling unreachable h_errno h_addr s_addr st_atime st_mtime st_ctime "
    "sa_handler sa_sigaction si_pid si_uid si_addr si_value".split()
)
# and the names that the emitted C itself uses beside it.
OURS = frozenset("main arena scratch state kept bytes memcpy memcmp memset".split())
_TYPES = re.compile(r"u?int(_least|_fast)?\d+_t|u?int(ptr|max)_t|(s?size|ptrdiff|max_align)_t")
# A model's sources are <name>.h, <name>.c and the like: none may hide another header, or be what some systems cannot store.
FILES = frozenset(
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbit stdbool "
    "stdckdint stddef stdint stdio stdlib stdnoreturn string strings tgmath threads time uchar wchar wctype unistd memory malloc arduino "
    "arm_mve arm_acle arm_neon riscv_vector sconscript cmakelists con prn aux nul com0 com1 com2 com3 com4 com5 com6 com7 com8 com9 "
    "lpt0 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9 eq std".split()
)


def identifier(text: str) -> str:
    """A C identifier from any string: lower case letters, digits and underscores, no word that C, C++, a header or edgeq needs."""
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()  # ö is o and ß is ss
    word = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:40].strip("_") or "model"
    ours = word in KEYWORDS | MACROS | OURS or _TYPES.fullmatch(word) or word.startswith("eq_")
    return f"m_{word}" if word[0].isdigit() or ours else word


def model_name(text: str) -> str:
    """The identifier that a model's files and external symbols begin with."""
    word = identifier(text)
    return f"m_{word}" if word in FILES else word


class Names:
    """The identifiers of one C scope, each given out once.

    Args:
        model: the model's name: what begins with it are external symbols, which a name from the model must not hide.
    """

    def __init__(self, model: str) -> None:
        self._model, self._taken = model, {model}

    def external(self, text: str) -> str:
        """One for a name that comes from the model."""
        word = identifier(text)
        if f"{word}_".startswith(f"{self._model}_"):
            word = f"{'m' if self._model[0] == 't' else 't'}_{word}"
        return self.own(word)

    def own(self, word: str) -> str:
        """`word`, with a number behind it where it is taken."""
        return unused(word, self._taken)


def comment(text: str) -> str:
    """Text that cannot end or break a C comment."""
    return re.sub(r"[^ -~]|\\|\*/|/\*|\?\?", "_", text)


def block_comment(*paragraphs: str) -> str:
    """A C comment of whole sentences, each paragraph on lines of its own, none longer than about 120 characters."""
    return "/* " + "\n * ".join(line for text in paragraphs for line in textwrap.wrap(comment(text), 114)) + " */"


def brief(name: str) -> str:
    """A node's or tensor's name for a comment: TensorFlow joins the names of what it fused by semicolons, the first tells enough."""
    return comment(name.split(";")[0] or name)[:72]


def decimal(value: Any) -> str:
    """A float32 as both C and C++ write it, exactly."""
    text = f"{float(value):.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"
