import pytest
import yaml

from osum.model.convert.card import Licences, model_card

PARTS = {"encoder": "openai/whisper-medium", "LLM": "Qwen/Qwen2-7B"}


def test_what_was_said_is_listed_and_the_rest_is_unknown():
    said = Licences("apache-2.0", {"Qwen/Qwen2-7B": "apache-2.0"}, {"AISHELL-1": "apache-2.0", "a|b": "CC BY\n4.0"})
    noted = {"toy": "CC0-1.0", "AISHELL-1": "unknown"}
    card = model_card("A model", {"model.safetensors": "weights"}, "load()", PARTS, said, noted)
    assert yaml.safe_load(card.split("---\n")[1]) == {"license": "apache-2.0", "library_name": "transformers"}
    assert "| Qwen/Qwen2-7B | apache-2.0 |" in card and "| openai/whisper-medium | unknown |" in card
    assert "| toy | CC0-1.0 |" in card and "| AISHELL-1 | apache-2.0 |" in card and "| a\\|b | CC BY 4.0 |" in card
    assert "```python\nload()\n```" in card


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: apache-2.0\nlanguage: zh\n---\n# A base\n", "apache-2.0"),
        ("# A base\n", "unknown"),
        ("---\nlicense: [mit, gpl]\n---\n", "unknown"),
        ("---\n- {\n---\n", "unknown"),
        ("---\nlanguage: zh\n---\n", "unknown"),
    ],
)
def test_a_base_models_own_card_is_asked(tmp_path, text, licence):
    (tmp_path / "README.md").write_text(text)
    parts = {"LLM": str(tmp_path)}
    assert f"| {tmp_path} | {licence} |" in model_card("A model", {}, "load()", parts, Licences(), {})
    said = Licences(base_models={str(tmp_path): "mit"})
    assert f"| {tmp_path} | mit |" in model_card("A model", {}, "load()", parts, said, {})


def test_nothing_is_invented():
    card = model_card("A model", {}, "load()", PARTS, Licences(), {})
    assert card.count("unknown") == 1 + 1 + 2 + 2  # header, model, two base models, a corpus and its licence
