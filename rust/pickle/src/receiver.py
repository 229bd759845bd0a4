# What travels with a pickle of classes: functions that the receiver needs and the standard library does not have.
#
# A class that travels by value has a key. The receiver keeps the class it made for a key for as long as it lives, so
# that the same class in two pickles is the same class there; a later pickle brings it up to date. `R` is the receiver's
# registry: a `weakref.WeakValueDictionary` in `copyreg`, or what `registry.py` made of it, which knows the classes that
# the process has defined itself: those are never changed. Each function goes as its code, without its globals.


# One thread at a time: two that load the same class at once are to get the same one. Workers of Spark pickle their rows
# with cloudpickle: told the key, it sends it along, and the class of such a row is found where it comes from, and by
# other workers. A metaclass that cannot be hashed is not told.
def define(R, k, m, *a):
    if a:
        from _thread import RLock
        from sys import modules

        with R.__dict__.setdefault("lock", RLock()):
            c = R.get(k)
            if c is None:
                R[k] = c = m(*a)
                for n in ("pyspark.cloudpickle.cloudpickle", "cloudpickle.cloudpickle"):
                    t = getattr(modules.get(n), "_lookup_class_or_track", None)
                    if t:
                        try:
                            t(k, c)
                        except TypeError:
                            pass
        return c
    c, m = m
    for n, v in R.get((k,), m).items():
        type.__setattr__(c, n, v)


# Classes that travel have been through `__init_subclass__` where they come from.
def shielded(bases, make, *arguments):
    hooks = []
    for base in bases:
        if "__init_subclass__" in base.__dict__:
            hooks.append((base, base.__dict__["__init_subclass__"]))
            type.__delattr__(base, "__init_subclass__")
    try:
        return make(*arguments)
    finally:
        for base, hook in hooks:
            type.__setattr__(base, "__init_subclass__", hook)


# A class that is not filled yet has no table of members.
def member(cls, table, entry, make, *arguments):
    if table in cls.__dict__:
        return cls.__dict__[table][entry]
    return make(cls, *arguments)


def states(R, k, members):
    if R.get((k,), True):
        for obj, state in members:
            obj.__dict__.update(state)
