"""benchmark.json: written and read alike; a broken file's errors name the field."""

import json

import pytest

from tribid.benchmark.results import load_results, save_results


def test_a_run_is_read_as_it_was_written(made_up, tmp_path):
    run = made_up()
    save_results(run, tmp_path / "benchmark.json")
    assert load_results(tmp_path / "benchmark.json") == run
    assert json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))["schema"] == 2


def _broken(content, *path_and_value):
    *path, last, value = path_and_value
    part = content
    for step in path:
        part = part[step]
    part[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("figures", 3, "value"), "fast", r"figures\[bare_48\]\.value: 'fast' is not allowed: .*number"),
        (("figures", 3, "seconds"), -1.0, r"figures\[bare_48\]\.seconds: -1\.0 is not allowed: .*greater than 0"),
        (("figures", 3, "value"), 1e99, r"figures\[bare_48\]: value is 1e\+99; allowed is from low"),
        (("figures", 3, "better"), "bigger", r"figures\[bare_48\]\.better: 'bigger' is not allowed: .*'higher' or 'lower'"),
        (("figures", 3, "speed"), 1.0, r"figures\[bare_48\]\.speed: 1\.0 is not allowed: Extra inputs"),
        (("figures", 3, "name"), "day_feed", "figures: day_feed stand more than once"),
        (("figures",), [], r"figures: \[\] is not allowed: .*at least 1 item"),
        (("machine", "cores"), 0, r"machine\.cores: 0 is not allowed"),
        (("curves", 0, "points", 1, "x"), 0.0, r"curves\[markets\]\.points\.1\.x: 0\.0 is not allowed"),
        (("quick",), "no", r"quick: 'no' is not allowed"),
        (("schema",), 1, "schema is 1; allowed is 2"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_with_the_field_named(made_up, tmp_path, path, value, said):
    file = tmp_path / "benchmark.json"
    content = json.loads(made_up().model_dump_json(by_alias=True))
    file.write_text(json.dumps(_broken(content, *path, value)), encoding="utf-8")
    with pytest.raises(ValueError, match=said) as error:
        load_results(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not JSON"), ("[]", "schema is 'list'"), ("{}", "schema is None"), (None, "cannot be read")],
)
def test_what_is_no_benchmark_file_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "f.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        load_results(tmp_path / "f.json")
