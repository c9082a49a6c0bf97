"""What an ELF file puts into a chip's memory."""

from __future__ import annotations

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

MOST_SEGMENTS, MOST_SECTIONS = 64, 4096


def loads(elf: ELFFile) -> list[tuple[int, bytes]]:
    """Address and content of every section that is loaded. A segment may have the file's own headers before them, and then begins
    at an address where the chip may have no memory.

    Raises:
        ValueError: it has more segments or sections than any program, or they lie over each other or are compressed.
    """
    if elf.num_segments() > MOST_SEGMENTS or elf.num_sections() > MOST_SECTIONS:
        raise ValueError(f"{elf.num_segments()} segments and {elf.num_sections()} sections")
    sections = [s for s in elf.iter_sections() if int(s["sh_flags"]) & SH_FLAGS.SHF_ALLOC and s["sh_type"] != "SHT_NOBITS" and s["sh_size"]]
    found, left = list[tuple[int, bytes]](), elf.stream_len
    for segment in elf.iter_segments("PT_LOAD"):
        begin, end = int(segment["p_offset"]), int(segment["p_offset"]) + int(segment["p_filesz"])
        for section in sections:
            at, size = int(section["sh_offset"]), int(section["sh_size"])
            if begin <= at and at + size <= end:
                left -= size
                if left < 0 or section.compressed:  # what a linker writes is in the file once, and as it is loaded
                    raise ValueError("sections overlap, or are compressed")
                found.append((int(segment["p_paddr"]) + at - begin, bytes(section.data())))
    return found
