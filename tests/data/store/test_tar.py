import io
import tarfile

import pytest

from osum.data.store.tar import Damage, Member, members


def make(names, tar_format=tarfile.PAX_FORMAT, size=700):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(size * b"q"))
    return bytearray(buffer.getvalue())


def walk(content):
    return list(members(io.BufferedReader(io.BytesIO(bytes(content))), len(content)))


NAMES = ["a.txt", "b/" + 200 * "c" + ".txt", 40 * "中文" + ".wav", "ä.json"]


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_lie_where_tarfile_finds_them(tar_format):
    content = make(NAMES[:1] if tar_format == tarfile.USTAR_FORMAT else NAMES, tar_format)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        expected = [Member(m.name, m.offset_data, m.size) for m in tar.getmembers()]
    assert walk(content) == expected


def test_damage_is_named_and_passed_over():
    content = make([f"u{i}" for i in range(4)])
    content[1536] ^= 1  # the name in the second header
    assert walk(content) == [
        Member("u0", 512, 700),
        Damage(1536, 3072),
        Member("u2", 3584, 700),
        Member("u3", 5120, 700),
    ]


def test_a_cut_in_the_filling_of_the_last_block_is_seen():
    assert walk(make(["u0", "u1"])[:3_070]) == [Member("u0", 512, 700), Member("u1", 2048, 700), Damage(2748, 3_070)]


def test_every_byte_of_junk_is_damage():
    assert walk(b"junk" * 500) == [Damage(0, 2000)]
    assert walk(b"") == [] and walk(bytes(10_240)) == []


def test_a_size_beyond_the_end_costs_only_its_member():
    content = make(["u0", "u1", "u2"])
    info = tarfile.TarInfo("u1")
    info.size = 8**11 - 1
    content[1536:2048] = info.tobuf(tarfile.USTAR_FORMAT)
    found = walk(content)
    assert [(m.name, m.problem) for m in found] == [("u0", None), ("u1", "the tar ends inside it"), ("u2", None)]


@pytest.mark.parametrize("size", [8**11 - 1, 2**70, -5])
def test_a_huge_or_negative_extension_is_damage(size):
    content = make(["u0", "u1"])
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, size
    header = info.tobuf(tarfile.GNU_FORMAT)
    assert walk(header + content)[0] == Damage(0, 512)
    assert [m.name for m in walk(header + content)[1:]] == ["u0", "u1"]


def test_members_after_an_end_mark_are_found():
    content = make(["u0"])
    assert [m.name for m in walk(content + make(["u1"]))] == ["u0", "u1"]


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (tarfile.SYMTYPE, "it is a link or a device"),
        (tarfile.LNKTYPE, "it is a link or a device"),
        (tarfile.FIFOTYPE, "it is a link or a device"),
        (tarfile.GNUTYPE_SPARSE, "it is a link or a device"),
    ],
)
def test_what_is_no_file_has_a_problem(kind, problem):
    info = tarfile.TarInfo("x.wav")
    info.type = kind
    assert walk(info.tobuf(tarfile.GNU_FORMAT) + make(["u0"]))[0].problem == problem


def test_a_name_that_is_not_utf8_has_a_problem():
    info = tarfile.TarInfo("\udcff.wav")
    (member,) = walk(info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape"))
    assert member.problem == "its name is not UTF-8"
    member.name.encode()
