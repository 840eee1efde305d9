"""One module a question. Each has `measure(run)`, which yields sections: a table of rows and the bars put to them."""
