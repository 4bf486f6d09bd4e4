/*
 * number.h - a number in digits with a decimal point, whatever a plugin did to the locale.
 */
#ifndef SLUICE_BASE_NUMBER_H
#define SLUICE_BASE_NUMBER_H

enum { NUMBER_TEXT_MAX = 40 };

/* As "%.*g" prints it. Returns buf. digits: 1 to 17. */
const char *number_text(double value, int digits, char buf[NUMBER_TEXT_MAX]);

#endif
