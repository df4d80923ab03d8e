"""The lab's certificates are ones that a strict client verifies."""

from __future__ import annotations

import socket
import ssl
import threading

import pytest
from tests.lab.pki import Pki


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_certificate_is_verified_with_the_lab_ca_alone(tmp_path, host):
    pki = Pki(tmp_path)
    made = pki.server("some-server")
    ours, theirs = socket.socketpair()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.cert, made.key)
    server = threading.Thread(target=lambda: context.wrap_socket(theirs, server_side=True).close())
    server.start()
    strict = ssl.create_default_context(cafile=str(pki.ca))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with strict.wrap_socket(ours, server_hostname=host) as checked:
        assert checked.getpeercert()
    server.join()


def test_a_folder_that_holds_a_ca_keeps_it(tmp_path):
    before = Pki(tmp_path).ca.read_bytes()
    assert before == Pki(tmp_path).ca.read_bytes()


def test_keys_are_readable_by_their_owner_only(tmp_path):
    pki = Pki(tmp_path)
    keys = [pki.server("a").key, pki.rsa_key("b"), tmp_path / "ca.key"]
    assert [0o600] * 3 == [key.stat().st_mode & 0o777 for key in keys]
