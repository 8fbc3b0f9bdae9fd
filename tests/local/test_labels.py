"""The alias maps in local/labels against the labels of the tasks."""

import pytest

from osum.data.corpora.label_maps import LabelMap


@pytest.fixture
def labels_dir(repo_root):
    return repo_root / "local" / "labels"


def test_every_map_is_legal(labels_dir):
    corpora = [path.stem for path in labels_dir.glob("*.yaml")]
    assert "default" in corpora
    for corpus in corpora:
        LabelMap.load(labels_dir, corpus)


@pytest.mark.parametrize(
    ("corpus", "field", "raw", "canonical"),
    [
        ("any", "emotion", "Angry", "anger"),
        ("any", "event", "throat_clearing", "throat clearing"),
        ("any", "event", "other:yawning", "other"),
        ("any", "style", "朗读", "新闻科普"),
        ("any", "style", "科普百科", "新闻科普"),
        ("any", "style", "悬疑恐怖", "恐怖故事"),
        ("any", "style", "童话故事", "童话故事"),
        ("any", "style", "客服", "客服"),
        ("any", "style", "诗歌", "诗歌散文"),
        ("any", "style", "散文", "诗歌散文"),
        ("any", "style", "武侠评书", "有声书"),
        ("any", "style", "小说", "有声书"),
        ("any", "style", "历史", "有声书"),
        ("any", "style", "科幻", "有声书"),
        ("any", "style", "对话", "日常口语"),
        ("any", "style", "口语", "日常口语"),
        ("any", "style", "幽默", "其他"),
        ("any", "style", "其他", "其他"),
        ("ravdess_shared", "emotion", "calm", "neutral"),
        ("ravdess_shared", "style", "acted", None),
        ("asterisk_en", "style", "announcement", "客服"),
        ("deeply_parent_child", "style", "talking", "日常口语"),
    ],
)
def test_aliases(labels_dir, corpus, field, raw, canonical):
    assert LabelMap.load(labels_dir, corpus).canonical(field, raw) == canonical
