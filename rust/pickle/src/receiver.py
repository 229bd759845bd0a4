# What travels with a pickle of classes: their registry at the receiver.
#
# A class that travels by value has a key. The receiver keeps the class it made for a key for as long as it lives, so that
# the same class in two pickles is the same class there; a later pickle brings it up to date. A class that this process
# has defined itself is never changed by a load. This file is in the bytes, compressed and without its comments, and is run
# where no pickle of classes was loaded before; it can rely on the standard library only.


def registry():
    import sys
    from _thread import RLock
    from _weakref import ref
    from types import ModuleType

    module = ModuleType("_rudf_classes_1")
    known, keys, own, lock = {}, {}, set(), RLock()

    def remember(key, obj, is_own=False):
        address = id(obj)

        def forget(reference):
            if known.get(key) is reference:
                del known[key]
            keys.pop(address, None)
            own.discard(key)

        known[key] = ref(obj, forget)
        keys[address] = key
        if is_own:
            own.add(key)
        # Workers of Spark pickle their rows with cloudpickle: told the key, it sends it along, and the class of such a row
        # is found where it comes from, and by other workers.
        for name in ("pyspark.cloudpickle.cloudpickle", "cloudpickle.cloudpickle"):
            track = getattr(sys.modules.get(name), "_lookup_class_or_track", None)
            if track:
                try:
                    track(key, obj)
                except TypeError:  # a metaclass that cannot be hashed
                    pass

    def define(key, make, *arguments):
        # One thread at a time: two that load the same class at once are to get the same one.
        with lock:
            reference = known.get(key)
            obj = None if reference is None else reference()
            if obj is None:
                # Classes that travel have been through `__init_subclass__` where they come from.
                hooks = []
                try:
                    for base in arguments[-2] if len(arguments) > 2 else ():
                        for cls in base.__mro__:
                            if id(cls) in keys and "__init_subclass__" in cls.__dict__:
                                hooks.append((cls, cls.__dict__["__init_subclass__"]))
                                type.__delattr__(cls, "__init_subclass__")
                    obj = make(*arguments)
                finally:
                    for cls, hook in hooks:
                        type.__setattr__(cls, "__init_subclass__", hook)
                remember(key, obj)
        return obj

    def member(cls, table, entry, make, *arguments):
        # A class that is not filled yet has no table of members.
        if table in cls.__dict__:
            return cls.__dict__[table][entry]
        return make(cls, *arguments)

    def fill(cls, attributes, members=()):
        if keys[id(cls)] not in own:
            for obj, state in members:
                obj.__dict__.update(state)
            for name, value in attributes.items():
                type.__setattr__(cls, name, value)

    module.__dict__.update(remember=remember, define=define, member=member, fill=fill, keys=keys, counts={})
    sys.modules.setdefault("_rudf_classes_1", module)


registry()
