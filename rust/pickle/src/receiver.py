# What travels with a pickle of classes: their registry at the receiver.
#
# A class that travels by value has a key. The receiver keeps the class it made for a key for as long as it lives, so that
# the same class in two pickles is the same class there. A class that is complete is never changed by a later load.
# The code of `registry` is in the bytes; it can rely on the standard library only.


def registry():
    import sys

    module = sys.modules.get("_rudf_classes_1")
    if module is not None:
        return module
    from _weakref import ref
    from types import ModuleType

    module = ModuleType("_rudf_classes_1")
    known, keys, unfinished = {}, {}, set()

    def remember(key, obj):
        address = id(obj)

        def forget(reference):
            if known.get(key) is reference:
                del known[key]
            keys.pop(address, None)

        known[key] = ref(obj, forget)
        keys[address] = key

    def find(key):
        reference = known.get(key)
        return None if reference is None else reference()

    def define(key, make, *arguments):
        obj = find(key)
        if obj is None:
            obj = make(*arguments)
            remember(key, obj)
            if isinstance(obj, type):
                unfinished.add(key)
        return obj

    def member(key, cls, table, entry, make, *arguments):
        if key in unfinished:
            return make(cls, *arguments)
        return cls.__dict__[table][entry]

    def fill(key, cls, attributes, members=()):
        if key in unfinished:
            for obj, state in members:
                obj.__dict__.update(state)
            for name, value in attributes.items():
                type.__setattr__(cls, name, value)
            unfinished.discard(key)

    def late(cls, name, value):
        if name not in cls.__dict__:
            type.__setattr__(cls, name, value)

    module.__dict__.update(
        remember=remember, define=define, member=member, fill=fill, late=late, keys=keys, counts={}
    )
    return sys.modules.setdefault("_rudf_classes_1", module)
