"""Files that appear whole or not at all."""

from clion_tf.files import atomic_write


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    """Sweeps may gather at the same time."""
    path = tmp_path / "table.md"
    with atomic_write(path) as first:
        first.write(b"half")
        with atomic_write(path) as second:
            second.write(b"whole")
        assert path.read_bytes() == b"whole"
        first.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert [each.name for each in tmp_path.iterdir()] == ["table.md"]
