from seaicekit.files import sha256


def fingerprint(p):
    return sha256(p)
