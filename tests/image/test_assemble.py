"""The parts of the image's layout that need no image."""

from pathlib import Path

import pytest

from image.assemble import ETC, fix_modes_and_times, launcher_text, libraries_in, wanted_from_standard_library


@pytest.mark.parametrize(
    "name",
    [
        "json/decoder.py",
        "lib-dynload/_ssl.cpython-313-x86_64-linux-gnu.so",
        "lib-dynload",
        "encodings/idna.py",
        "unittest/mock.py",
        "LICENSE.txt",
        "xml/sax/handler.py",
        "wsgiref/types.py",
    ],
)
def test_module_of_use_to_a_service_is_kept(name: str) -> None:
    assert wanted_from_standard_library(Path(name))


@pytest.mark.parametrize(
    "name",
    [
        "test",
        "idlelib/idle.py",
        "ensurepip",
        "turtle.py",
        "site-packages",
        "json/__pycache__",
        "config-3.13-x86_64-linux-gnu",
        "lib-dynload/_tkinter.cpython-313-x86_64-linux-gnu.so",
        "lib-dynload/_testcapi.cpython-313-x86_64-linux-gnu.so",
        "lib-dynload/xxlimited.cpython-313-x86_64-linux-gnu.so",
        "lib-dynload/_sqlite3.cpython-313-x86_64-linux-gnu.so",
    ],
)
def test_module_without_use_to_a_service_is_left_out(name: str) -> None:
    assert not wanted_from_standard_library(Path(name))


def test_loader_answer_gives_libraries_and_the_loader_itself() -> None:
    answer = (
        "\tlinux-vdso.so.1 (0x00007ffc5d3f2000)\n"
        "\tlibpython3.13.so.1.0 => /usr/local/lib/libpython3.13.so.1.0 (0x00007f2a1b000000)\n"
        "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2a1ae1f000)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007f2a1b5d0000)\n"
    )
    assert libraries_in(answer, Path("python3.13")) == [
        Path("/usr/local/lib/libpython3.13.so.1.0"),
        Path("/lib/x86_64-linux-gnu/libc.so.6"),
        Path("/lib64/ld-linux-x86-64.so.2"),
    ]


def test_static_object_needs_no_library() -> None:
    assert libraries_in("\tstatically linked\n", Path("any.so")) == []


def test_library_that_the_base_lacks_fails_the_build() -> None:
    with pytest.raises(SystemExit, match=r"_x\.so needs libnsl\.so\.2, which the base image does not have"):
        libraries_in("\tlibnsl.so.2 => not found\n", Path("_x.so"))


def test_launcher_isolates_python_from_working_directory_and_environment() -> None:
    assert launcher_text(Path("/usr/local/bin/python3.13")).splitlines()[0] == "#!/usr/local/bin/python3.13 -Iu"


def test_nobody_in_the_image_has_a_shell_to_log_in_with() -> None:
    assert {line.rpartition(":")[2] for line in ETC["passwd"].splitlines()} == {"/nonexistent"}


def test_modes_and_times_are_fixed_and_setuid_is_gone(tmp_path: Path) -> None:
    program, data, link = tmp_path / "program", tmp_path / "data", tmp_path / "link"
    program.touch()
    program.chmod(0o4755)
    data.touch()
    data.chmod(0o666)
    link.symlink_to("nowhere")
    fix_modes_and_times(tmp_path, 1_580_601_600)
    assert [path.lstat().st_mode & 0o7777 for path in (tmp_path, program, data)] == [0o755, 0o755, 0o644]
    assert {path.lstat().st_mtime for path in (tmp_path, program, data, link)} == {1_580_601_600}
