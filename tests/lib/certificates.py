"""Certificates of a test's own, made with openssl: authorities, and what they sign, each a NAME.pem and a NAME.key in
a folder.

    made = Certificates(folder)
    made.authority("ca")
    made.sign("server", "ca", "db.test")
"""
import datetime
import subprocess


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Certificates:
    KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]

    def __init__(self, folder):
        self.folder = folder

    def file(self, name):
        return self.folder / name

    def authority(self, name):
        pair = ["-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.pem")]
        openssl("req", "-x509", *self.KEY, "-nodes", "-days", 2, "-subj", f"/CN={name}", *pair)

    def sign(self, name, authority, host, password=None, expired=False):
        """A certificate for this host, or user, whose key wants the password."""
        lock = ["-passout", f"pass:{password}"] if password else ["-nodes"]
        pair = ["-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.csr")]
        openssl("req", *self.KEY, *lock, "-subj", f"/CN={host}", *pair)
        for folder in ("new", "database"):
            self.file(folder).unlink(missing_ok=True)
        self.file("database").touch()
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = (now + datetime.timedelta(days=days) for days in ((-3, -1) if expired else (-1, 1)))
        self.file("ca.cnf").write_text(
            f"[ca]\ndefault_ca = one\n[one]\ndatabase = {self.file('database')}\nnew_certs_dir = {self.folder}\n"
            "default_md = sha256\npolicy = any\nrand_serial = yes\nunique_subject = no\nx509_extensions = names\n"
            f"[any]\ncommonName = supplied\n[names]\nsubjectAltName = DNS:{host}\n"
        )
        signer = ["-cert", self.file(f"{authority}.pem"), "-keyfile", self.file(f"{authority}.key")]
        times = ["-startdate", begin.strftime("%Y%m%d%H%M%SZ"), "-enddate", end.strftime("%Y%m%d%H%M%SZ")]
        out = ["-in", self.file(f"{name}.csr"), "-out", self.file(f"{name}.pem"), "-notext"]
        openssl("ca", "-batch", "-config", self.file("ca.cnf"), *signer, *times, *out)
