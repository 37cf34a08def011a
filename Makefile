test:
	python -m pytest -q
