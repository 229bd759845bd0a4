# The registry of classes in a process that pickles: what receivers have in `copyreg` (see `receiver.py`), and the keys
# of the classes that were defined here, which no load changes. `tracking.rs` gives the keys.

import copyreg
from _thread import RLock
from sys import modules
from weakref import KeyedRef, WeakValueDictionary


class Classes(WeakValueDictionary):
    def __init__(self, known):
        self.own, self.keys_by_address, self.counts = set(), {}, {}
        super().__init__()
        self.lock = getattr(known, "lock", None) or RLock()  # see `define` in `receiver.py`
        for key, obj in known.items():
            self[key] = obj

    # A class that a load has made.
    def __setitem__(self, key, obj):
        self.own.discard(key)
        super().__setitem__(key, obj)
        self.keys_by_address[id(obj)] = key
        self.tidy()

    # The receiver's function asks with a tuple what it may set, and what is set if there is nobody to ask.
    def get(self, key, default=None):
        if type(key) is tuple:
            return {} if key[0] in self.own else default
        return super().get(key, default)

    # A key was given to a class that was defined here: see `define` in `receiver.py`.
    def given(self, key, obj):
        self.tidy()
        for name in ("pyspark.cloudpickle.cloudpickle", "cloudpickle.cloudpickle"):
            track = getattr(modules.get(name), "_lookup_class_or_track", None)
            if track:
                try:
                    track(key, obj)
                except TypeError:  # a metaclass that cannot be hashed
                    pass

    def reference(self, key, obj):
        return KeyedRef(obj, self._remove, key)

    def tidy(self):
        if len(self.keys_by_address) > 2 * len(self.data) + 1000:
            # Most of them are gone.
            living = list(self.items())
            self.own.intersection_update([key for key, _ in living])
            self.keys_by_address.clear()
            self.keys_by_address.update((id(obj), key) for key, obj in living)


classes = copyreg.__dict__[NAME] = Classes(copyreg.__dict__.get(NAME, {}))
