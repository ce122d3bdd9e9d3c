"""Certificates of an authority of the tests' own, made by openssl."""

import os
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=20)


class Authority:
    """An authority in a folder of its own; `path` is its certificate."""

    def __init__(self, folder, name="authority"):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.path, self.key = self._file(f"{name}.pem"), self._file(f"{name}.key")
        openssl("req", "-x509", *CURVE, "-nodes", "-days", "3", "-subj", f"/CN={name}", "-out", self.path, "-keyout", self.key)  # fmt: skip

    def _file(self, name):
        return os.path.join(self.folder, name)

    def issue(self, common_name, *names, into=None, days=2):
        """A certificate for these subject alternative names (`DNS:a.example`); its path and the key's. `into` names the
        files to write, which then change as a renewal changes them: by renaming."""
        cert, key = into or (self._file(f"{common_name}.pem"), self._file(f"{common_name}.key"))
        request, extensions = self._file("request.pem"), self._file("extensions")
        openssl("req", "-new", *CURVE, "-nodes", "-subj", f"/CN={common_name}", "-out", request, "-keyout", key + ".new")
        with open(extensions, "w", encoding="utf-8") as file:
            file.write("subjectAltName=" + ",".join(names) if names else "basicConstraints=CA:FALSE")
        openssl("x509", "-req", "-in", request, "-CA", self.path, "-CAkey", self.key, "-CAcreateserial", "-days", str(days),
                "-extfile", extensions, "-out", cert + ".new")  # fmt: skip
        os.rename(cert + ".new", cert)
        os.rename(key + ".new", key)
        return cert, key


CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
