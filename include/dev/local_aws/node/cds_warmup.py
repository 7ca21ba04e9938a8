"""What Spark runs while the JVM's classes are archived: each of the ways in which a step of ours uses it, once.

Started by `spark-submit`, with `node_spark` as the one who does so.
"""

from operator import add

from pyspark import SparkContext

if __name__ == "__main__":
    with SparkContext(appName="training") as context:
        context.setJobDescription("use what steps use")
        numbers = context.parallelize(range(2), 2).map(abs)
        numbers.treeReduce(add)
        numbers.collect()
