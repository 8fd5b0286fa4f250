"""Split learning: what an estimator does with its modules, its noise and its files. torch is imported below only."""
