"""The functions that lay out the image, without an image."""

from pathlib import Path

import pytest

from image.assemble import ETC, copy_packages, fix_modes_and_times, is_wanted_module, launcher_text, parse_ldd
from image.contents import OPERATOR_PACKAGES, SIDECAR_PACKAGES, check_packages


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
def test_module_that_a_service_can_use_is_kept(name: str) -> None:
    assert is_wanted_module(Path(name))


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
def test_module_that_no_service_uses_is_left_out(name: str) -> None:
    assert not is_wanted_module(Path(name))


def test_ldd_output_gives_the_libraries_and_the_loader() -> None:
    output = (
        "\tlinux-vdso.so.1 (0x00007ffc5d3f2000)\n"
        "\tlibpython3.13.so.1.0 => /usr/local/lib/libpython3.13.so.1.0 (0x00007f2a1b000000)\n"
        "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2a1ae1f000)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007f2a1b5d0000)\n"
    )
    assert parse_ldd(output, Path("python3.13")) == [
        Path("/usr/local/lib/libpython3.13.so.1.0"),
        Path("/lib/x86_64-linux-gnu/libc.so.6"),
        Path("/lib64/ld-linux-x86-64.so.2"),
    ]


def test_static_object_needs_no_library() -> None:
    assert parse_ldd("\tstatically linked\n", Path("any.so")) == []


def test_library_that_the_base_lacks_fails_the_build() -> None:
    with pytest.raises(SystemExit, match=r"_x\.so needs libnsl\.so\.2, which the base image does not have"):
        parse_ldd("\tlibnsl.so.2 => not found\n", Path("_x.so"))


def test_package_that_is_left_out_is_not_copied(tmp_path: Path) -> None:
    for name in ("broker/trust", "broker/core", "botocore/trust"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "module.py").touch()
    (tmp_path / "root/usr/local/bin").mkdir(parents=True)
    copy_packages(tmp_path / "site", tmp_path / "root", frozenset({"trust"}))
    copied = {path.parent.relative_to(tmp_path / "root") for path in tmp_path.glob("root/**/module.py")}
    assert {"/".join(path.parts[-2:]) for path in copied} == {"broker/core", "botocore/trust"}


def test_package_without_an_image_fails_the_build(tmp_path: Path) -> None:
    for name in (*SIDECAR_PACKAGES, *OPERATOR_PACKAGES, "__pycache__"):
        (tmp_path / name).mkdir()
    check_packages(tmp_path)
    (tmp_path / "gadgets").mkdir()
    with pytest.raises(SystemExit, match=r"these packages of the broker: gadgets\. Add them to SIDECAR_PACKAGES or"):
        check_packages(tmp_path)


def test_every_package_of_the_broker_is_in_one_of_the_lists() -> None:
    packages = {path.parent.name for path in (Path(__file__).parents[2] / "broker").glob("*/__init__.py")}
    assert packages | {"iam_policies"} == SIDECAR_PACKAGES | OPERATOR_PACKAGES
    assert SIDECAR_PACKAGES.isdisjoint(OPERATOR_PACKAGES)


def test_launcher_isolates_python_from_working_directory_and_environment() -> None:
    assert launcher_text(Path("/usr/local/bin/python3.13")).splitlines()[0] == "#!/usr/local/bin/python3.13 -Iu"


def test_no_user_in_the_image_has_a_login_shell() -> None:
    assert {line.rpartition(":")[2] for line in ETC["passwd"].splitlines()} == {"/nonexistent"}


def test_modes_and_times_are_fixed_and_setuid_is_removed(tmp_path: Path) -> None:
    program, data, link = tmp_path / "program", tmp_path / "data", tmp_path / "link"
    program.touch()
    program.chmod(0o4755)
    data.touch()
    data.chmod(0o666)
    link.symlink_to("nowhere")
    fix_modes_and_times(tmp_path, 1_580_601_600)
    assert [path.lstat().st_mode & 0o7777 for path in (tmp_path, program, data)] == [0o755, 0o755, 0o644]
    assert {path.lstat().st_mtime for path in (tmp_path, program, data, link)} == {1_580_601_600}
