"""Certificates for tests, made by the openssl command."""

import ssl
import subprocess

KINDS = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}


def openssl(*args, stdin=b""):
    return subprocess.run(["openssl", *map(str, args)], check=True, input=stdin,
                          capture_output=True).stdout  # fmt: skip


class Pair:
    """A certificate and its key as files."""

    def __init__(self, folder, name):
        self.cert, self.key = folder / f"{name}.crt", folder / f"{name}.key"

    @property
    def option(self):
        return f"tls={self.cert}+{self.key}"

    def bytes(self):
        return self.cert.read_bytes() + self.key.read_bytes()


class Authority(Pair):
    """Signs others. Names as subjectAltName has them: "DNS:a.test,URI:spiffe://a/b"."""

    def __init__(self, folder, name="ca"):
        super().__init__(folder, name)
        self.folder = folder
        openssl("req", "-x509", "-newkey", *KINDS["ec"], "-nodes", "-days", 3, "-subj",
                f"/CN={name}", "-keyout", self.key, "-out", self.cert)  # fmt: skip

    def issue(self, name, names=None, kind="ec", days=2):
        pair = Pair(self.folder, name)
        request = openssl("req", "-new", "-newkey", *KINDS[kind], "-nodes", "-subj", f"/CN={name}",
                          "-keyout", pair.key)  # fmt: skip
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE")
        openssl("x509", "-req", "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days",
                days, "-extfile", extensions, "-out", pair.cert, stdin=request)  # fmt: skip
        pair.key.chmod(0o600)
        return pair

    def client_context(self, own=None, version=None, alpn=("http/1.1",), ciphers=None):
        """Of a client that trusts this authority."""
        context = ssl.create_default_context(cafile=self.cert)
        if version:
            context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)
        if alpn:
            context.set_alpn_protocols(alpn)
        if own:
            context.load_cert_chain(own.cert, own.key)
        return context


def server_context(pair, ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
