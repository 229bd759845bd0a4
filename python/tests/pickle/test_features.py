"""Which test shows which feature: what cloudpickle does, what it gets wrong, and what its clients lean on.

Names are those of cases (each loaded in a fresh interpreter without site-packages) or of test functions; the test below
sees to it that all of them exist. What does not travel is in the table of limits of ``rust/pickle/README.md``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_fresh_interpreter import CASES

HERE = Path(__file__).parent
LIMITS = Path(__file__).parents[3] / "rust" / "pickle" / "README.md"

#: What cloudpickle does.
FEATURES = {
    "lambdas, local functions and those of __main__": "lambda function_with_everything thousand_lambdas",
    "only the globals that code names": "global_values global_names_of_every_use many_globals",
    "globals of nested code and of class bodies in functions": "global_in_nested_code global_in_class_body",
    "the same bytes in every process": "test_bytes_are_those_of_any_other_process",
    "one globals dictionary for the functions of one module": "global_set_and_deleted methods_share_globals_with_functions",
    "names of the module, relative imports": "relative_import file_and_name_globals",
    "builtins": "builtins_are_there builtin_names_shadowed custom_builtins no_name_in_globals",
    "submodules reached as attributes": "submodule_global submodule_in_nested_function submodule_in_closure submodules_by_many_routes",
    "cells: recursive, shared, empty": "closure_recursive closures_share_a_cell closures_of_many_kinds empty_cell cell_with_none",
    "defaults, annotations, doc, names, attributes": "function_with_everything changed_name_doc_module functions_changed_by_hand",
    "code objects": "code_object code_of_every_statement constants_of_every_kind exception_handling_code",
    "classes, cycles through them, super()": "plain_class class_refers_to_itself super_in_every_kind_of_method",
    "identity of classes across loads": "test_two_pickles_of_one_class_give_one_class test_class_is_one_over_many_loads_until_it_is_let_go",
    "attributes in an order of their own": "test_class_has_the_same_bytes_before_and_after_its_first_instance",
    "__slots__, also private ones": "slots private_slots slots_of_many_forms dc_weakref",
    "a property named __dict__": "class_with_dict_property",
    "generic bases": "generics typing_constructs abc_instance_of_generic",
    "abstract base classes and their registry": "abstract_base_class abc_reg abc_virtual_subclasses_of_both_kinds",
    "the old kinds of abstract methods": "deprecated_abstract abstract_properties",
    "enums": "enum enum_kinds enum_flags_int_str_auto flag_composites enum_in_a_class_and_in_a_closure",
    "named tuples": "named_tuples named_tuples_with_methods_and_subclasses",
    "fields and sentinels of dataclasses": "dataclass dataclass_options_of_every_kind dc_kwonly",
    "type variables": "generics typing_constructs type_param_generic",
    "classmethod, staticmethod, property": "plain_class properties_kinds method_kinds",
    "bound methods": "bound_method_of_local_class bound_method method_of_builtin",
    "weak collections, mapping proxies, descriptors": "weak_collections_and_views weak_structures getset",
    "memory views": "memory_views views",
    "loggers": "loggers logging_objects",
    "text file handles": "text_handle logger_and_files",
    "views of dictionaries": "views odict_views",
    "modules by reference and by value": "modules dynamic_module modules_made_at_run_time module_in_class_in_module",
    "modules that are registered to go by value": "test_module_by_value_for_one_call_and_for_all",
    "types that have no name of their own": "types_of_functions type_none_default",
    "copyreg as it is at the time": "test_copyreg_is_followed_live",
    "protocols 2 to 5": "test_cases_work_with_older_protocols test_unknown_protocol_is_refused",
    "buffers out of band": "test_buffers_go_out_of_band test_out_of_band_buffers_are_not_copied",
}

#: What cloudpickle gets wrong.
MENDED = {
    "lru_cache": "functools_kinds functools_on_methods lru_attr",
    "type aliases (3.12)": "type_alias type_alias_recursive type_alias_recursive_generic_mutual",
    "enums with __init__ or __new__": "enum_with_init_and_new members_as_keys_in_what_their_enum_leads_to",
    "keywords of classes and metaclasses": "init_subclass_with_keyword metaclass abc_with_metaclass_of_its_own",
    "private names in __slots__": "private_slots",
    "globals that only a class body reads": "global_in_class_body",
    "submodules that only a nested function uses": "submodule_in_nested_function",
    "slots stay slots": "slots dataclass_with_slots dataclass_newer_options",
    "the identity of MISSING": "dataclass dataclass_options_of_every_kind",
    "an override equal to the value of the base": "explicit_override_equal_to_base",
    "__init_subclass__ and __set_name__ run once": "init_subclass_with_keyword set_name_runs_once set_name_with_owner_and_init_subclass",
    "memory views stay memory views": "memory_views",
    "type parameters (3.12), defaults of type variables (3.13)": "generic_function generic_class type_variable_with_default pep695_scopes",
    "causes and notes of exceptions": "exc exceptions_and_groups exception_groups cause_cycle",
    "live classes and functions are not changed by a load": "test_loading_changes_no_live_class_or_function",
    "singledispatch": "functools_kinds singledispatch dispatch_after_use",
    "subclasses of property, classmethod and staticmethod": "descriptors_and_subclassed_property",
    "NewType, ParamSpec, TypeVarTuple": "new_type_and_typed_dict type_variable_tuple",
    "weak references and context variables": "weak_structures contextvar context_variables_and_sentinels",
    "cached_property": "functools_kinds cached_property_used",
    "depth": "deep_list test_a_million_nested_lists_and_a_long_linked_list_are_written test_depth_costs_no_stack",
    "the version in the bytes": "test_code_of_another_version_is_refused_with_both_versions test_other_pythons_refuse_code_of_this_one",
    "what a function captures, and how large it is": "test_captured_variables_globals_and_modules_are_told_with_reasons",
    "errors that lead to the object": "test_message_holds_the_path_the_place_and_a_hint",
    "by-value modules of one call": "test_module_by_value_for_one_call_and_for_all test_picklers_of_their_own_do_not_see_each_other",
    "memory and leaks": "test_peak_memory_of_a_large_array_is_its_size test_a_hundred_thousand_dumps_leak_nothing",
    "threads": "test_bytes_are_right_while_modules_come_and_go test_many_threads_pickle_at_once",
    "reducers of one pickler": "test_dispatch_table_of_instance_class_and_base",
}

#: What clients lean on, and what else is lost by cloudpickle.
CLIENTS = {
    "tables and overrides of subclasses": "test_what_ray_and_others_do_to_the_class_works test_reducer_override_may_call_the_base",
    "loky, joblib, distributed": "test_loky_runs_work_in_processes test_joblib_runs_work_in_processes test_distributed_runs_work_in_processes",
    "shared cells": "closures_share_a_cell closures_share_a_cell_with_object",
    "qualified names, aliases of enums, combined flags": "nested_class enum flag_composites",
    "a metaclass that copyreg knows": "copyreg_metaclass",
    "bound and raw classmethods of importable classes": "bound_classmethod raw_classmethod_function",
    "type(None)": "type_none_default",
    "a pickler that is entered again": "test_pickler_that_reenters_itself_is_refused test_reduce_may_pickle_again",
    "interrupts": "test_an_interrupt_arrives_promptly test_interrupt_arrives_during_a_long_dump",
    "values of broadcasts": "test_values_of_broadcasts_go_by_value",
    "CPython's own tests": "test_of_cpython_passes",
}

#: What does not travel, by words of its row in the table of limits.
LIMITED = [
    "names reached only by a string",
    "generators, coroutines that run, frames, tracebacks, locks, sockets",
    "import statements in a function's body",
    "an importable function that calls one of a module that goes by value",
    "other minor versions of Python",
    "weak references whose object nothing else in the pickle holds",
]

TESTS = {
    name for path in HERE.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("table", [FEATURES, MENDED, CLIENTS], ids=["features", "mended", "clients"])
def test_every_feature_names_what_shows_it(table: dict[str, str]) -> None:
    cases = {
        name
        for path in HERE.glob("cases_*.py")
        for name in re.findall(r"^ *(?:CASES\[)?\"(\w+)\"(?:\] =|:) Case\(", path.read_text(), re.MULTILINE)
    }
    missing = {
        feature: [name for name in names.split() if name not in TESTS | cases] for feature, names in table.items()
    }
    assert not any(missing.values()), {feature: names for feature, names in missing.items() if names}
    assert set(CASES) <= cases


def test_what_does_not_travel_is_in_the_table_of_limits() -> None:
    limits = LIMITS.read_text()
    assert [words for words in LIMITED if words not in limits] == []
