import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from pileus.drivers.errors import Refused
from pileus.drivers.volume import config_drive
from pileus.drivers.volume.images import DirectoryImages
from pileus.drivers.volume.inspection import Content, detect
from pileus.drivers.volume.protocol import Inspected

MIB, GIB = 1 << 20, 1 << 30
MOST = 64 * GIB
MAKERS = {
    "qcow2": ("qcow2",),
    "qcow2-v2": ("qcow2", "-o", "compat=0.10"),
    "qcow2-extended": ("qcow2", "-o", "extended_l2=on"),
    "qcow2-small": ("qcow2", "-o", "cluster_size=512"),
    "vmdk": ("vmdk",),
    "vmdk-stream": ("vmdk", "-o", "subformat=streamOptimized"),
    "vhd": ("vpc",),
    "vhd-fixed": ("vpc", "-o", "subformat=fixed,force_size"),
    "vhdx": ("vhdx",),
    "vdi": ("vdi",),
    "vdi-static": ("vdi", "-o", "static=on"),
    "raw": ("raw",),
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One image of every kind, with content."""
    directory = tmp_path_factory.mktemp("samples")
    source = directory / "source"
    source.write_bytes(bytes(range(256)) * 1024 + bytes(5 * MIB))
    made = {}
    for name, (format, *options) in MAKERS.items():
        target = directory / name
        subprocess.run(
            ["qemu-img", "convert", "-f", "raw", "-O", format, *options, source, target], check=True
        )
        made[name] = target.read_bytes()
    config_drive.write({"a/b": b"c"}, directory / "iso")
    made["iso"] = (directory / "iso").read_bytes()
    made["vmdk-footer"] = with_footer(made["vmdk-stream"])
    made["iso-hybrid"] = b"\x33\xed" + bytes(508) + b"\x55\xaa" + made["iso"][512:]
    made["raw-gpt"] = bytes(510) + b"\x55\xaaEFI PART" + bytes(MIB)
    made["raw-odd"] = b"hello"
    return made


def inspect(content: bytes, most: int = MOST) -> Inspected:
    return detect(Content(content), most)


SAMPLES = [*MAKERS, "iso", "iso-hybrid", "raw-gpt", "raw-odd"]


@pytest.mark.parametrize("name", [*SAMPLES, "vmdk-footer"])
async def test_every_format_is_found_and_qemu_agrees(samples: dict[str, bytes], tmp_path: Path, name: str):
    store, image = DirectoryImages(tmp_path / "images", MOST), uuid4()
    (tmp_path / "file").write_bytes(samples[name])
    await store.adopt(image, tmp_path / "file")
    found = await store.inspect(image)
    assert found == inspect(samples[name])
    assert found.format == name.partition("-")[0]
    store.close()


def patched(content: bytes, offset: int, value: bytes) -> bytes:
    offset %= len(content)
    return content[:offset] + value + content[offset + len(value) :]


def descriptor(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """In the text of a vmdk, whose length stays."""

    def change(content: bytes) -> bytes:
        text = content[512:10752].rstrip(b"\0")
        assert old in text
        return content[:512] + text.replace(old, new).ljust(10240, b"\0") + content[10752:]

    return change


def at(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda content: patched(content, offset, value)


def vhd_footer(offset: int, field: int, value: bytes) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        start = offset % len(content)
        footer = bytearray(content[start : start + 512])
        footer[field : field + len(value)] = value
        footer[64:68] = bytes(4)
        footer[64:68] = (~sum(footer) & 0xFFFFFFFF).to_bytes(4, "big")
        return patched(content, start, bytes(footer))

    return change


def with_footer(content: bytes, change: Callable[[bytes], bytes] = bytes) -> bytes:
    """As VMware streams a disk: where the directory is becomes known at the end only."""
    marker = (1).to_bytes(8, "little") + bytes(4) + (3).to_bytes(4, "little")
    footer = marker.ljust(512, b"\0") + change(content[:512]) + bytes(512)
    return at(56, b"\xff" * 8)(content) + footer


EXTERNAL_DATA_NAME = b"\x44\x41\x54\x41\0\0\0\x0b/etc/shadow\0\0\0\0\0" + bytes(8)
HOSTILE = [
    ("qcow2", at(8, (512).to_bytes(8, "big")), "backing file"),
    ("qcow2-v2", at(8, (512).to_bytes(8, "big")), "backing file"),
    ("qcow2", at(79, b"\x04"), "external data file"),
    ("qcow2", at(112, EXTERNAL_DATA_NAME), "external data file"),
    ("qcow2-v2", at(72, EXTERNAL_DATA_NAME), "external data file"),
    ("qcow2", at(112, b"\x05\x37\xbe\x77\0\0\0\x10" + bytes(24)), "encrypted"),
    ("qcow2", at(79, b"\x02"), "corrupt"),
    ("qcow2", at(72, b"\x80"), "unknown features"),
    ("qcow2", at(79, b"\x20"), "unknown features"),
    ("qcow2", at(35, b"\x01"), "encrypted"),
    ("qcow2", at(35, b"\x02"), "encrypted"),
    ("qcow2", at(7, b"\x01"), "version 1"),
    ("qcow2", at(7, b"\x09"), "version 9"),
    ("qcow2", at(23, b"\x40"), "clusters of"),
    ("qcow2", at(24, b"\0\0\0\x01"), "virtual size|tables hold fewer"),
    ("qcow2", at(24, bytes(8)), "virtual size of 0"),
    ("qcow2", at(40, b"\x7f"), "cut off"),
    ("qcow2", at(48, b"\x7f"), "cut off"),
    ("qcow2", at(100, b"\x7f"), "length"),
    ("vmdk", descriptor(b"ffffffff", b"12345678"), "parent"),
    ("vmdk", descriptor(b"# Extent", b'parentFileNameHint="x"\n# Extent'), "parent"),
    ("vmdk", descriptor(b"monolithicSparse", b"monolithicFlat"), "type monolithicFlat"),
    ("vmdk", descriptor(b"monolithicSparse", b"vmfsSparse"), "type vmfsSparse"),
    ("vmdk", descriptor(b'SPARSE "', b'SPARSE "/etc/'), "names another file"),
    ("vmdk", descriptor(b"# Extent", b'RW 8 FLAT "/etc/shadow" 0\n# Extent'), "extents besides"),
    ("vmdk", descriptor(b"RW ", b"xx "), "extents besides"),
    ("vmdk", descriptor(b" SPARSE ", b" FLAT "), "extents besides"),
    ("vmdk", at(12, bytes(8)), "no capacity"),
    ("vmdk", at(28, b"\x07"), "no embedded descriptor"),
    ("vmdk", at(36, b"\xff\xff\xff"), "descriptor claims"),
    ("vmdk", at(4, b"\x09"), "version 9"),
    ("vmdk-stream", at(56, b"\xff" * 8), "footer"),
    ("vmdk-stream", lambda content: with_footer(content, at(12, b"\x01")), "contradicts"),
    ("vhd", vhd_footer(0, 60, b"\0\0\0\x04"), "differencing"),
    ("vhd", vhd_footer(0, 60, b"\0\0\0\x02"), "neither"),
    ("vhd", at(48, b"\1"), "checksum"),
    ("vhd-fixed", vhd_footer(-512, 48, b"\0\0\0\0\0\0\x10\0"), "should have"),
    ("vhdx", at(192 << 10, b"xxxx"), None),
    ("vdi", at(76, b"\x04"), "type 4"),
    ("vdi", at(424, b"\x01"), "parent"),
    ("vdi", at(440, b"\x01"), "parent"),
    ("vdi", at(68, b"\x07"), "version"),
    ("iso", at(32768 + 80, b"\0\0\0\x10"), "cut off"),
    ("raw", lambda content: b"", "empty"),
    ("raw", lambda content: b"# Disk DescriptorFile\nversion=1\n", "descriptor has no data"),
    ("raw", lambda content: b"\n # disk descriptorfile\n", "descriptor has no data"),
    ("raw", lambda content: b"COWD" + content, "ESX"),
    ("raw", lambda content: b"QED\0" + content, "qed"),
    ("raw", lambda content: b"LUKS\xba\xbe" + content, "encrypted"),
    ("iso", lambda content: b"QFI\xfb" + content[4:], "version"),
    ("vmdk", at(32769, b"CD001"), "at once|cut off"),
]


@pytest.mark.parametrize(("name", "change", "words"), HOSTILE)
def test_a_hostile_file_is_refused_with_the_reason(
    samples: dict[str, bytes], name: str, change: Callable[[bytes], bytes], words: str | None
):
    content = change(samples[name])
    if words is None:
        assert inspect(content).format == name
        return
    with pytest.raises(Refused, match=words):
        inspect(content)


def vhdx_item(content: bytes, key: str) -> int:
    """Where the metadata entry with that GUID is."""
    from uuid import UUID

    return content.index(UUID(key).bytes_le)


def test_a_vhdx_with_a_parent_is_refused(samples: dict[str, bytes]):
    content = samples["vhdx"]
    entry = vhdx_item(content, "caa16737-fa36-4d43-b3b6-33f0aa44e76b")
    table = content.index(b"metadata")
    value = table + int.from_bytes(content[entry + 16 : entry + 20], "little")
    with pytest.raises(Refused, match="parent"):
        inspect(patched(content, value + 4, b"\x02"))
    locator = bytes.fromhex("2d5fd3a80bb34d45abf7d3d84834ab0c")
    with pytest.raises(Refused, match="parent"):
        inspect(patched(content, entry, locator))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_virtual_size_has_a_limit(samples: dict[str, bytes], name: str):
    size = inspect(samples[name]).virtual_bytes
    assert inspect(samples[name], size).virtual_bytes == size
    with pytest.raises(Refused, match="limit"):
        inspect(samples[name], size - 1)


@pytest.mark.parametrize(("first", "second"), [("qcow2", "iso"), ("vdi", "iso"), ("vhdx", "iso")])
def test_a_file_of_two_formats_is_refused(samples: dict[str, bytes], first: str, second: str):
    mixed = bytearray(samples[first].ljust(len(samples[second]), b"\0"))
    mixed[32768:34816] = samples[second][32768:34816]
    with pytest.raises(Refused, match="at once"):
        inspect(bytes(mixed))


async def test_a_cut_off_image_is_refused_though_its_header_is_sound(
    samples: dict[str, bytes], tmp_path: Path
):
    store, image = DirectoryImages(tmp_path / "images", MOST), uuid4()
    (tmp_path / "file").write_bytes(samples["qcow2"][: -128 << 10])
    await store.adopt(image, tmp_path / "file")
    with pytest.raises(Refused, match=rf"image {image}"):
        await store.inspect(image)
    store.close()


def judged(content: bytes) -> Inspected | Refused:
    """Anything but these two outcomes fails the test."""
    try:
        return inspect(content)
    except Refused as refused:
        return refused


@pytest.mark.parametrize("name", SAMPLES)
def test_a_damaged_file_never_crashes_the_inspection(samples: dict[str, bytes], name: str):
    chance = random.Random(name)
    whole = samples[name]
    heads = (0, 32768, 65536, 192 << 10, 256 << 10, 2 * MIB, 3 * MIB, max(0, len(whole) - 1536))
    for _ in range(400 if len(whole) < MIB else 100):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            place = min(chance.choice(heads) + chance.randrange(600), len(content) - 1)
            content[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        judged(bytes(content))
    for _ in range(60):
        judged(whole[: chance.choice((chance.randrange(1024), chance.randrange(len(whole))))])


def test_random_bytes_never_crash_the_inspection():
    chance = random.Random(7)
    magics = [
        b"QFI\xfb",
        b"KDMV",
        b"vhdxfile",
        b"conectix",
        b"\x7f\x10\xda\xbe",
        b"# Disk DescriptorFile",
        b"",
    ]
    for _ in range(2000):
        content = chance.choice(magics) + chance.randbytes(chance.choice((0, 3, 60, 600, 5000, 70000)))
        judged(content + chance.choice((b"", b"conectix" + chance.randbytes(504))))
