"""What makes a machine a particular one: credentials at boot, a program after a saved state."""

from __future__ import annotations

import base64
import subprocess

import pytest

from nodepool.driver.local.qemu.identity import Identity, credentials, personalisation

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nx'$(reboot)\n-----END OPENSSH PRIVATE KEY-----\n"
IDENTITY = Identity("np1", PRIVATE, "ssh-ed25519 HOST", "zuul", ["ssh-ed25519 AAAA it's me", "ssh-rsa BBBB"])


def decoded(identity: Identity) -> dict[str, str]:
    """Credentials by name."""
    found = {}
    for credential in credentials(identity):
        name, _, value = credential.removeprefix("io.systemd.credential.binary:").partition("=")
        found[name] = base64.b64decode(value).decode()
    return found


def files(identity: Identity) -> dict[str, tuple[str, str, str]]:
    """Files that are made at boot: path to mode, owner and content."""
    lines = [line.split() for line in decoded(identity)["tmpfiles.extra"].splitlines()]
    return {words[1]: (words[2], words[3], base64.b64decode(words[6]).decode()) for words in lines if words[0] == "f+~"}


def test_a_machine_that_boots_gets_its_name_its_key_and_its_users() -> None:
    made = files(IDENTITY)
    assert made["/etc/ssh/ssh_host_ed25519_key"] == ("0600", "root", PRIVATE)
    assert made["/etc/hostname"] == ("0644", "root", "np1\n")
    keys = "ssh-ed25519 AAAA it's me\nssh-rsa BBBB\n"
    assert made["/home/zuul/.ssh/authorized_keys"] == ("0600", "zuul", keys)
    assert decoded(IDENTITY)["sysctl.extra"] == "kernel.hostname=np1\n"
    assert "d /home/zuul/.ssh 0700 zuul zuul -" in decoded(IDENTITY)["tmpfiles.extra"]


def test_root_lives_elsewhere() -> None:
    root = Identity("np1", PRIVATE, "ssh-ed25519 HOST", "root", ["ssh-rsa BBBB"])
    assert "/root/.ssh/authorized_keys" in files(root)


def test_without_keys_the_images_own_stay() -> None:
    nobody = Identity("np1", PRIVATE, "ssh-ed25519 HOST", "zuul")
    assert "authorized_keys" not in decoded(nobody)["tmpfiles.extra"]
    assert "~zuul" not in personalisation(nobody, "0" * 32, b"seed", 0.0)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_program_is_one_for_a_shell_and_shows_no_secret(shell: str) -> None:
    program = personalisation(IDENTITY, "0" * 32, b"seed", 1_700_000_000.9)
    assert "date -u -s @1700000000 " in program
    assert "reboot" not in program
    assert subprocess.run([shell, "-n"], input=program, text=True, check=False).returncode == 0


def test_what_is_new_is_not_told_before_all_is_done() -> None:
    lines = personalisation(IDENTITY, "0" * 32, b"seed", 0.0).splitlines()
    assert "kill -HUP" in lines[-1]
    assert lines[0] == "set -eu"


def test_secrets_are_not_shown() -> None:
    from nodepool.driver.local.keys import new_key

    key = new_key()
    assert "PRIVATE" in key.private
    assert "PRIVATE" not in repr(key)
