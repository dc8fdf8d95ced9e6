import unittest

from summary import NoNumbers, NotANumber, summary


class Summary(unittest.TestCase):
    def test_numbers_are_summed_up(self):
        expected = "count 3\nsum 9\nmean 3\nsmallest 1\nlargest 6\n"
        self.assertEqual(summary("1\n2\n\n6\n"), expected)

    def test_anything_else_is_an_error_that_names_the_line(self):
        with self.assertRaisesRegex(NotANumber, "line 2 is not a number: two"):
            summary("1\ntwo\n")
        with self.assertRaises(NoNumbers):
            summary("")


if __name__ == "__main__":
    unittest.main()
