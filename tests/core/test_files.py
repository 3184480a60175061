import pytest

from core.errors import UserError
from core.files import similar_file, written_aside


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "folder" / "file"
    with written_aside(path) as aside:
        aside.write_text("old")
    with pytest.raises(ZeroDivisionError), written_aside(path) as aside:
        aside.write_text("half of the ne")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with written_aside(link) as aside:
        aside.write_text("new")
    assert link.is_symlink() and target.read_text() == "new"


def test_a_device_is_written_as_it_is(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    with written_aside(link) as aside:
        aside.write_text("lost")
    assert link.resolve().is_char_device()


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a folder, not a file"), written_aside(tmp_path):
        pass
    with pytest.raises(UserError, match="cannot be written .File exists"), written_aside(tmp_path / "file" / "x"):
        pass
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(UserError, match="cannot be written .No space left on device"), written_aside(full) as aside:
        aside.write_text("x")


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [("trian.tsv", " Did you mean 'train.tsv'?"), ("train.csv", " Did you mean 'train.tsv'?"), ("nix.tsv", "")],
)
def test_a_file_is_meant_whose_name_is_near_not_only_its_suffix(tmp_path, wanted, hint):
    for name in ("train.tsv", "b.tsv"):
        (tmp_path / name).write_text("")
    assert similar_file(tmp_path / wanted) == hint
    assert similar_file(tmp_path / "nowhere" / wanted) == ""
