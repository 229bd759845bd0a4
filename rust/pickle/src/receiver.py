# What travels with a pickle of classes where the standard library's own functions are not enough. Each function goes as its
# code, without its globals, so names are short: they are in the bytes.
#
# A class that travels by value has a key. `copyreg._rudf` of the receiver is a dictionary of weak references by key, so
# that the same class in two pickles is the same class there, for as long as it lives; a later pickle brings it up to
# date. In a process that pickles it is what `registry.py` made of it, which knows the classes that the process has
# defined itself: those are never changed. `tracking.rs` writes the calls.


# Classes that travel have been through `__init_subclass__` where they come from. One load at a time takes it off a base:
# another would find it gone halfway.
def shielded(b, m, *a):
    h = []
    with __import__("copyreg").__dict__.setdefault("_rudf_lock", __import__("_thread").RLock()):
        for c in b:
            if "__init_subclass__" in c.__dict__:
                h.append((c, c.__dict__["__init_subclass__"]))
                type.__delattr__(c, "__init_subclass__")
        try:
            return m(*a)
        finally:
            for c, f in h:
                type.__setattr__(c, "__init_subclass__", f)


# A member of an enum; a class that is not filled yet has no table of members. `s` is what a hash of it may need.
def member(c, t, k, s, m, *a):
    if t in c.__dict__:
        return c.__dict__[t][k]
    o = m(c, *a)
    o.__dict__.update(s)
    return o
