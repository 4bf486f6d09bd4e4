LIBS_data_platform := -lcurl
