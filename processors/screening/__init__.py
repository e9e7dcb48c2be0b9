"""Screening: is this name one of a list's? Pure, apart from reading the files that the package ships."""
