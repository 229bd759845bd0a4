from pyspark.cloudpickle import dumps
