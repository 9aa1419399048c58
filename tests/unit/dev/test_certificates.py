import ssl
from pathlib import Path

from dev.cluster.certificates import Authority, KeyPair


def _load(authority: Authority, pair: KeyPair) -> None:
    context = ssl.create_default_context(cafile=str(authority.root.certificate))
    context.load_cert_chain(pair.certificate, pair.key)


def test_issued_pairs_fit_together_and_are_kept(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.server("server", ["localhost", "127.0.0.1"])
    before = server.certificate.read_bytes()
    _load(authority, server)
    _load(authority, authority.client("client", "user", "group"))
    assert Authority(tmp_path).server("server", ["localhost", "127.0.0.1"]) == server
    assert server.certificate.read_bytes() == before


def test_interrupted_issue_is_repeated(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "server.key").write_text("half a key")
    _load(authority, authority.server("server", ["localhost"]))


def test_keys_are_private(tmp_path: Path) -> None:
    pair = Authority(tmp_path).client("client", "user")
    assert pair.key.stat().st_mode & 0o077 == 0
