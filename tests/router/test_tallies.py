from weighbridge.tallies import Buckets, summed


def test_a_value_on_a_bound_is_within_it():
    buckets = Buckets((1, 2))
    for value in (0.5, 1, 1.5, 2, 99):
        buckets.add(value)
    assert buckets.counts == [2, 2, 1]
    assert buckets.total == 104


def test_equal_labels_are_summed():
    assert summed([(("a",), 1), (("b",), 2), (("a",), 3)]) == {("a",): 4, ("b",): 2}
    assert summed([]) == {}
